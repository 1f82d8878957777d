"""The ncnn backend: a hand-written network's answers, and refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ncnn_files import SIZES, weights, write_ncnn

from runtime import BackendError, BundleError, Classifier
from runtime.backends import load

pytest.importorskip("ncnn", reason="needs pip install 'clip2edge[ncnn]'")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_ncnn(tmp_path / "m.param")


def answers(images: np.ndarray) -> np.ndarray:
    """What the network of ``ncnn_files`` computes, by numpy."""
    values = np.frombuffer(weights(), np.float32)
    conv, bias, _, head, offset = np.split(values[1:], np.cumsum([54, 2, 1, 8]))
    kernels = conv.reshape(2, 3, 3, 3)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    maps = np.einsum("bchwij,ocij->bohw", windows, kernels) + bias[None, :, None, None]
    return np.maximum(maps, 0).mean((2, 3)) @ head.reshape(4, 2).T + offset


def test_it_computes_what_the_file_says(file: Path) -> None:
    runner = load("ncnn", file, threads=1)
    assert (runner.outputs, runner.input_size, runner.threads) == (("logits",), 8, 1)
    images = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    got = runner.run(images)
    assert got.shape == (3, SIZES[-1]) and np.abs(got - answers(images)).max() < 1e-4
    assert (runner.run(images) == got).all()


def test_refusals_are_our_errors(file: Path, bundle: Path) -> None:
    runner = load("ncnn", file, threads=1)
    with pytest.raises(BackendError, match=r"images.*\(1, 3, 9, 9\).*3, 8, 8"):
        runner.run(np.zeros((1, 3, 9, 9), np.float32))
    with pytest.raises(BackendError, match="no output 'features'"):
        runner.run(np.zeros((1, 3, 8, 8), np.float32), "features")
    with pytest.raises(BackendError, match="inference_precision"):
        load("ncnn", file, inference_precision="int8")
    with pytest.raises(BackendError, match="ncnn does not read") as caught:
        Classifier.load(bundle, backend="ncnn")
    assert "--to fp16.ncnn" in str(caught.value.remedy)
    write_ncnn(file, file.read_text().replace("images", "x"))
    with pytest.raises(BackendError, match="model inputs.*'x'"):
        load("ncnn", file)
    file.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(BundleError, match="not the weights"):
        load("ncnn", file)


def test_an_absent_engine_has_a_remedy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(BackendError, match="not installed") as caught:
        load("ncnn", file)
    assert caught.value.remedy == "pip install 'clip2edge[ncnn]'"
