from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from small_graphs import chain

from compress.engine.errors import ExportError
from export.targets import scan


def test_headroom_is_kept_below_the_largest_half() -> None:
    limit = scan.MAX_HALF / scan.HEADROOM
    assert (
        scan.TensorRange("x", limit * 1.01, 0).near_overflow
        and not scan.TensorRange("x", limit, 0).near_overflow
    )
    assert scan.TensorRange("x", float("nan"), 0).near_overflow


def test_subnormals_are_counted() -> None:
    model = chain(helper.make_node("Relu", ["images"], ["logits"], "relu"), constants={})
    tensor = np.ones((1, 3, 4, 4), np.float32)
    tensor[0, 0] = 1e-6
    assert scan.scan(model, [tensor])["logits"].subnormal_share == pytest.approx(1 / 3)


def test_a_model_that_is_not_finite_in_float32_is_refused() -> None:
    model = chain(helper.make_node("Log", ["images"], ["logits"], "log"), constants={})
    with pytest.raises(ExportError, match="not finite in float32"):
        scan.scan(model, [np.zeros((1, 3, 4, 4), np.float32)])
    with pytest.raises(ExportError, match="no images"):
        scan.scan(model, [])
