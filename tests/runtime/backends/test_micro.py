"""TensorFlow Lite Micro's reference kernels beside LiteRT's, on the same file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from litert_files import FILES

from runtime.backends import load as load_model
from runtime.backends import micro
from runtime.errors import BackendError, BundleError

INT8 = FILES / "tiny.int8.tflite"
SIZE = 32


def needs_micro() -> None:
    pytest.importorskip("tflite_micro", reason="needs pip install 'clip2edge[micro]'")
    pytest.importorskip("ai_edge_litert", reason="needs pip install 'clip2edge[litert]'")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


def test_the_reference_kernels_answer_like_litert() -> None:
    needs_micro()
    ours, theirs = micro.load(INT8), load_model("litert", INT8, threads=1)
    assert ours.outputs == theirs.outputs and ours.input_size == SIZE
    found, wanted = (runner.run_all(images(8), ("logits", "features")) for runner in (ours, theirs))
    step, _ = ours.output_steps
    assert (
        np.abs(found["logits"] - wanted["logits"]).max() <= 2.01 * step
    )  # each rounds its products once
    assert np.abs(found["features"] - wanted["features"]).max() < 0.02


def test_the_arena_is_the_smallest_that_loads(capfd: pytest.CaptureFixture[str]) -> None:
    needs_micro()
    data = INT8.read_bytes()
    arena = micro.arena_bytes(data)
    assert 8_000 < arena < 20_000
    made, _ = micro._import()
    micro._interpreter(made, data, arena)
    with pytest.raises(BackendError, match="cannot load"):
        micro._interpreter(made, data, arena - 2 * micro.STEP)
    assert capfd.readouterr().err == "", "what it lacks in the search is no news"


def test_steps_are_those_of_the_input() -> None:
    needs_micro()
    runner = micro.load(INT8)
    scale, point = runner.input_steps
    assert runner.steps_of(np.array([[0.0, 3 * scale, 1e9, -1e9]])) == [
        [point, point + 3, 127, -128]
    ]


def test_other_files_are_refused(tmp_path: Path) -> None:
    needs_micro()
    with pytest.raises(BackendError, match="model input") as caught:
        micro.load(FILES / "tiny.fp32.tflite")
    assert caught.value.expected == "int8 (1, 3, S, S)"
    (tmp_path / "no.tflite").write_bytes(b"something else")
    with pytest.raises(BundleError, match="not a LiteRT model"):
        micro.load(tmp_path / "no.tflite")
    with pytest.raises(BackendError, match="pixels|images|batch"):
        micro.load(INT8).run(np.zeros((1, 3, 8, 8), np.float32))


def test_without_the_package_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    monkeypatch.delitem(sys.modules, "tflite_micro.python.tflite_micro.runtime", raising=False)
    monkeypatch.delitem(sys.modules, "tflite_micro.python.tflite_micro", raising=False)
    monkeypatch.delitem(sys.modules, "tflite_micro.python", raising=False)
    with pytest.raises(BackendError, match="not installed") as caught:
        micro.load(INT8)
    assert caught.value.remedy == micro.INSTALL
