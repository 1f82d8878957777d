"""The TensorRT backend against onnxruntime, on a strict stand-in for the published API."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from manifests import manifest_of
from tensorrt_machine import Machine
from tiny_bundles import SIZE, encoded, int8_model, make_bundle, photo

from runtime import BackendError, Classifier
from runtime.backends.onnxruntime import load as load_ort


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


def test_an_engine_gives_what_the_model_gives(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    want = load_ort(fp32, threads=1)
    for count in (1, 3, 1, 8):
        batch = images(count, seed=count)
        np.testing.assert_allclose(runner.run(batch), want.run(batch), atol=1e-5)
    assert (runner.provider, runner.threads, runner.input_size, runner.outputs) == (
        "TensorRT",
        1,
        SIZE,
        ("logits",),
    )
    assert (
        runner.versions["tensorrt"] == machine.trt.__version__ and "8.7" in runner.versions["gpu"]
    )


def test_a_batch_above_the_profile_is_split(machine: Machine, fp32: Path) -> None:
    batch = images(11)
    got = machine.load(fp32, max_batch=4).run(batch)
    np.testing.assert_allclose(got, load_ort(fp32, threads=1).run(batch), atol=1e-5)


def test_no_images_give_no_rows(machine: Machine, fp32: Path) -> None:
    assert machine.load(fp32).run(images(0)).shape == (0, 4)


def test_a_fixed_batch_needs_no_profile(machine: Machine, fp32: Path, tmp_path: Path) -> None:
    model = onnx.load(fp32)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    runner = machine.load(tmp_path / "two.onnx")
    assert machine.trt._builds[0]["shapes"] == {}
    np.testing.assert_allclose(
        runner.run(images(4)), load_ort(fp32, threads=1).run(images(4)), atol=1e-5
    )
    with pytest.raises(BackendError, match="a multiple of 2"):
        runner.run(images(3))


def test_threads_share_a_runner(machine: Machine, fp32: Path) -> None:
    runner, want = machine.load(fp32), load_ort(fp32, threads=1)
    batches = [images(1 + index % 3, seed=index) for index in range(12)]
    got: dict[int, np.ndarray] = {}
    workers = [
        threading.Thread(target=lambda index=index: got.update({index: runner.run(batches[index])}))
        for index in range(12)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, batch in enumerate(batches):
        np.testing.assert_allclose(got[index], want.run(batch), atol=1e-5)


def test_int8_is_proved_by_the_layers(machine: Machine, fp32: Path, tmp_path: Path) -> None:
    runner = machine.load(int8_model(fp32, tmp_path / "q.onnx"))
    assert runner.kernels == {"fp32 reformat": 1, "int8 compute": 3}
    assert any(
        state.startswith("3 of 3 convolutions and products run in int8") for state in runner.states
    )


def test_an_int8_file_that_runs_in_float_is_said(
    monkeypatch: pytest.MonkeyPatch, fp32: Path, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, float_engine=True)
    runner = machine.load(int8_model(fp32, tmp_path / "q.onnx"))
    assert (
        "a quantized file, but most convolutions and products do not run in int8" in runner.states
    )
    assert "int8 compute" not in runner.kernels


def test_classifier_takes_the_trt_file_for_int8(machine: Machine, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path)
    manifest = manifest_of(bundle)
    manifest["models"]["int8.trt"] = manifest["models"].pop("int8")
    manifest["default"] = "fp32"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    machine.patch.setenv("CLIP2EDGE_CACHE", str(machine.cache))
    for precision, model in (("int8", "int8.trt"), ("fp32", "fp32")):
        classifier = Classifier.load(bundle, precision=precision, backend="tensorrt")
        assert classifier.precision == model
        reference = Classifier.load(bundle, precision=model, threads=1)
        picture = encoded(photo(3))
        np.testing.assert_allclose(classifier.logits(picture), reference.logits(picture), atol=1e-4)
    assert not [path for path in bundle.iterdir() if path.suffix == ".engine"]


def test_wrong_shapes_outputs_and_options_are_refused(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    with pytest.raises(BackendError, match="expected logits"):
        runner.run(images(1), "features")
    with pytest.raises(BackendError, match=r"\(B, 3, 32, 32\)"):
        runner.run(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(BackendError, match="unknown option of backend 'tensorrt' · got provider"):
        machine.load(fp32, provider="CUDAExecutionProvider")
    with pytest.raises(BackendError, match="batch profile"):
        machine.load(fp32, max_batch=0)
