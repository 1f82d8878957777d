"""The ExecuTorch backend on two small programs, beside the ONNX files they come from.

``tests/data/executorch`` holds what ``export.engines.executorch.write`` makes of ``tiny_bundles``'
models with features.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from tiny_bundles import SIZE, float_model, int8_model

from runtime import BackendError
from runtime.backends import load
from runtime.backends.limited import overrun

FILES = ROOT / "tests" / "data" / "executorch"
present = pytest.mark.skipif(
    find_spec("executorch") is None, reason="needs pip install 'clip2edge[executorch]'"
)


@present
@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-5), ("int8", 0.02)])
def test_it_answers_as_onnxruntime_does(tmp_path: Path, precision: str, share: float) -> None:
    source = float_model(tmp_path / "a.onnx", features=True)
    if precision == "int8":
        source = int8_model(source, tmp_path / "b.onnx")
    images = np.random.default_rng(0).normal(size=(4, 3, SIZE, SIZE)).astype(np.float32)
    images.flags.writeable = False
    ours = load("executorch", FILES / f"tiny.{precision}.pte", threads=1)
    theirs = load("onnxruntime", source, threads=1)
    assert (ours.outputs, ours.input_size, ours.threads) == (("logits", "features"), SIZE, 1)
    names = ("logits", "features")
    got, want = ours.run_all(images, names), theirs.run_all(images, names)
    for name in names:
        assert got[name].shape == want[name].shape and got[name].dtype == np.float32
        assert np.abs(got[name] - want[name]).max() <= share * np.ptp(want[name]), name
    assert (got["logits"].argmax(1) == want["logits"].argmax(1)).all()
    assert (ours.run(images) == got["logits"]).all(), "one output alone"


@present
def test_it_runs_within_limits() -> None:
    """torch is loaded before the memory of the process is bounded."""
    assert overrun({FILES / "tiny.int8.pte": SIZE}, 1, "executorch") == ("", True)


@present
def test_refusals_are_our_errors(tmp_path: Path) -> None:
    runner = load("executorch", FILES / "tiny.fp32.pte", threads=1)
    with pytest.raises(BackendError, match=r"images.*\(1, 3, 9, 9\).*3, 32, 32"):
        runner.run(np.zeros((1, 3, 9, 9), np.float32))
    with pytest.raises(BackendError, match="no output 'scores'"):
        runner.run(np.zeros((1, 3, SIZE, SIZE), np.float32), "scores")
    with pytest.raises(BackendError, match="threads"):
        load("executorch", FILES / "tiny.fp32.pte", threads=0)
    whole = (FILES / "tiny.fp32.pte").read_bytes()
    (tmp_path / "m.pte").write_bytes(whole.replace(b"aten::sum", b"aten::smu"))
    with pytest.raises(BackendError, match="executorch cannot load"):
        load("executorch", tmp_path / "m.pte", threads=1)


def test_an_absent_engine_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    without = [folder for folder in sys.path if not (Path(folder) / "executorch").is_dir()]
    monkeypatch.setattr(sys, "path", without)
    with pytest.raises(BackendError, match="not installed") as caught:
        load("executorch", FILES / "tiny.fp32.pte")
    assert caught.value.remedy == "pip install 'clip2edge[executorch]'"
