"""Targets for LiteRT: what its converter's environment needs, and the real conversion where there
is one: CLIP2EDGE_LITERT_ENV names it (python -m venv ENV && ENV/bin/pip install litert-torch onnx).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import make_bundle, photo

from compress.engine.errors import ExportError
from export.engines.litert import PACKAGES
from export.targets.write import export_targets
from runtime import Classifier, golden

ENVIRONMENT = os.environ.get("CLIP2EDGE_LITERT_ENV", "")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", tmp_path, features=True)


def test_without_an_environment_one_command_makes_it(bundle: Path, tmp_path: Path) -> None:
    for given, words in ((None, "no --converter-env"), (tmp_path / "nowhere", "no Python in")):
        with pytest.raises(ExportError, match=words) as caught:
            export_targets(bundle, ["litert.int8"], converter_env=given)
        remedy = f"python -m venv ENV && ENV/bin/pip install {PACKAGES}; then --converter-env ENV"
        assert caught.value.remedy == remedy


def test_what_the_converter_says_is_the_error(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    script = tmp_path / "env" / "bin" / "python"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -S -c 'import litert_torch'\n")
    script.chmod(0o755)
    with pytest.raises(ExportError, match="cannot be converted.*No module named 'litert_torch'"):
        export_targets(bundle, ["fp32.litert"], converter_env=tmp_path / "env")
    assert not list(bundle.glob("*.tflite"))


@pytest.mark.skipif(not ENVIRONMENT, reason="needs CLIP2EDGE_LITERT_ENV, an environment")
def test_targets_are_verified_on_their_engine(bundle: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs pip install 'clip2edge[litert]'")
    rows = export_targets(bundle, ["litert.int8", "fp32.litert"], converter_env=ENVIRONMENT)
    for key, row in rows.items():
        assert (row["state"], row["file"]) == ("verified", f"model.{key}.tflite")
    assert rows["int8.litert"]["kernels"]["CONV_2D int8"] == 2
    photos = [photo(seed) for seed in range(4)]
    ours = Classifier.load(bundle, backend="litert", threads=1)
    want = Classifier.load(bundle, "int8", threads=1).logits(photos)
    assert np.abs(ours.logits(photos) - want).max() < 0.02 * np.ptp(want)
    assert {step.state for step in golden.verify(bundle, threads=1)} == {golden.OK}
