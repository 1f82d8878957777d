from __future__ import annotations

import numpy as np
import pytest
from small_graphs import run
from tiny_bundles import SPEC

from compress.engine.errors import ExportError
from export.targets import versions
from runtime import normalize


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 22])
def test_every_opset_computes_the_same(opset: int, fp32, int8, batch) -> None:
    for source in (fp32, int8):
        model = versions.with_opset(source, opset)
        assert versions.opset_of(model) == opset
        assert versions.lowest_ir(model) <= model.ir_version <= 10
        tensor = normalize(batch, SPEC)
        assert np.abs(run(model, tensor) - run(source, tensor)).max() < 1e-4


def test_versions_that_cannot_be_are_refused(fp32) -> None:
    for opset in (17, 23):
        with pytest.raises(ExportError, match="18..22"):
            versions.with_opset(fp32, opset)
    newer = versions.with_opset(fp32, 21)
    with pytest.raises(ExportError, match="10..10 for opset 21"):
        versions.with_ir(newer, 9)
    with pytest.raises(ExportError, match="..10"):
        versions.with_ir(newer, 11)
    assert versions.with_ir(versions.with_opset(fp32, 18), 9).ir_version == 9
