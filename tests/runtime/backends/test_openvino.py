"""The OpenVINO backend: the same answers as onnxruntime's, integer kernels, and refusals."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from ir_files import IR, write_ir
from odd_models import change, outer_sums
from tiny_bundles import SIZE, make_bundle, photo

from runtime import BackendError, BundleError, Classifier, golden
from runtime.backends import BACKENDS, load

openvino = pytest.importorskip("openvino", reason="needs pip install 'clip2edge[openvino]'")


def images(count: int = 3) -> list[np.ndarray]:
    return [photo(seed) for seed in range(count)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose models have features."""
    folder = tmp_path_factory.mktemp("told")
    return make_bundle(folder / "bundle", folder, features=True)


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-5), ("int8", 0.05)])
def test_it_answers_as_onnxruntime_does(told: Path, precision: str, share: float) -> None:
    ours, theirs = (
        Classifier.load(told, precision, engine, threads=1)
        for engine in ("openvino", "onnxruntime")
    )
    want, got = theirs.logits(images()), ours.logits(images())
    assert np.abs(got - want).max() <= share * np.ptp(want)
    assert (got.argmax(1) == want.argmax(1)).all()
    rows, others = ours.features(images()), theirs.features(images())
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-3
    assert (rows * others).sum(1).min() > 0.99
    assert (ours.runner.threads, ours.runner.provider) == (1, "CPU")
    assert ours.predict(images()[0])[0].label == theirs.predict(images()[0])[0].label


def test_its_counters_prove_that_int8_ran(bundle: Path) -> None:
    row = BACKENDS["openvino"]
    integer = load("openvino", bundle / "model.int8.onnx", threads=1).kernels  # type: ignore[attr-defined]
    assert integer["Convolution I8"] == 2 and row.is_quantized(integer)
    floating = load("openvino", bundle / "model.fp32.onnx", threads=1).kernels  # type: ignore[attr-defined]
    assert floating["Convolution F32"] == 2 and not row.is_quantized(floating)


def test_threads_and_batches_are_honored(bundle: Path) -> None:
    runner = load("openvino", bundle / "model.fp32.onnx", threads=2)
    assert runner.threads == 2 and runner.input_size == SIZE
    batch = np.random.default_rng(0).normal(size=(5, 3, SIZE, SIZE)).astype(np.float32)
    whole = runner.run(batch)
    parts = np.concatenate([runner.run(batch[i : i + 1]) for i in range(5)])
    assert whole.shape == (5, 4) and np.abs(whole - parts).max() < 1e-5


def test_an_answer_is_not_overwritten_by_the_next(bundle: Path) -> None:
    runner = load("openvino", bundle / "model.fp32.onnx", threads=1)
    first = runner.run(np.zeros((1, 3, SIZE, SIZE), np.float32))
    kept = first.copy()
    runner.run(np.ones((1, 3, SIZE, SIZE), np.float32))
    assert (first == kept).all()


def test_refusals_are_our_errors(bundle: Path, tmp_path: Path) -> None:
    file = bundle / "model.fp32.onnx"
    runner = load("openvino", file, threads=1)
    with pytest.raises(BackendError, match=r"images.*\(1, 3, 5, 5\).*3, 32, 32"):
        runner.run(np.zeros((1, 3, 5, 5), np.float32))
    with pytest.raises(BackendError, match="no output 'scores'"):
        runner.run(np.zeros((1, 3, SIZE, SIZE), np.float32), "scores")
    with pytest.raises(BackendError, match="device 'NPU9' is absent.*CPU"):
        load("openvino", file, device="NPU9")
    with pytest.raises(BackendError, match="inference_precision.*'int4'.*f32"):
        load("openvino", file, inference_precision="int4")
    with pytest.raises(BackendError, match="threads"):
        load("openvino", file, threads=0)
    with pytest.raises(BackendError, match="unknown option of openvino.*provider"):
        load("openvino", file, provider="cpu")
    model = onnx.load(file)
    model.graph.node[0].op_type = "Convolve"
    (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BackendError, match="openvino cannot load"):
        load("openvino", tmp_path / "n.onnx")
    model = onnx.load(file)
    model.graph.input[0].name = "x"
    model.graph.node[0].input[0] = "x"
    (tmp_path / "o.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BackendError, match=r"model inputs.*\('x', 'f32'\)"):
        load("openvino", tmp_path / "o.onnx")


def test_an_absent_or_old_engine_has_a_remedy(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "__version__", "2023.3.0-1-x")
    with pytest.raises(BackendError, match="too old.*2023.3.*2024"):
        load("openvino", bundle / "model.fp32.onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match="not installed") as caught:
        load("openvino", bundle / "model.fp32.onnx")
    assert caught.value.remedy == "pip install 'clip2edge[openvino]'"


def test_a_hand_written_model_runs(tmp_path: Path) -> None:
    runner = load("openvino", write_ir(tmp_path / "m.xml"), threads=1)
    batch = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    assert np.abs(runner.run(batch) - batch.mean((2, 3))).max() < 1e-6


def test_a_model_whose_result_is_too_large_is_refused_before_it_runs(tmp_path: Path) -> None:
    big = IR.replace("?,3,8,8", "?,3,80000,80000").replace("<dim>8</dim>", "<dim>80000</dim>")
    with pytest.raises(BundleError, match="any time or memory.*19,200,000,000"):
        load("openvino", write_ir(tmp_path / "m.xml", big), threads=1)


def test_a_model_that_takes_all_memory_differs_and_the_next_is_verified(
    built: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "bundle"))
    change(copy, ("model.fp32.onnx",), outer_sums)
    steps = {step.name: step for step in golden.verify(copy, backend="openvino", threads=1)}
    assert steps["logits fp32"].state == "differs" and steps["logits fp32"].detail
    assert steps["logits int8"].state == "ok"
