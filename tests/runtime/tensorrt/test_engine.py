"""The TensorRT backend against a strict stand-in for the published API of 10.3 and 11.4: logic
only, no GPU.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from cuda_stand_in import ORIN, FakeCuda
from tensorrt_machine import Machine
from tensorrt_stand_in import tensorrt
from tiny_bundles import SIZE, float_model

from runtime import BackendError, BundleError
from runtime.backends.onnxruntime import load as load_ort
from runtime.tensorrt.cuda import CudaDevice


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


def test_the_second_load_builds_nothing(machine: Machine, fp32: Path) -> None:
    first = machine.load(fp32)
    again = machine.load(fp32)
    assert len(machine.trt._builds) == 1
    assert any("not in the cache" in state for state in first.states) or any(
        "built in" in s for s in first.states
    )
    assert "engine from the cache" in again.states
    assert again.kernels == first.kernels
    np.testing.assert_array_equal(first.run(images(2)), again.run(images(2)))


def test_another_gpu_version_option_or_model_is_another_engine(
    machine: Machine, fp32: Path, tmp_path: Path
) -> None:
    machine.load(fp32)
    machine.load(fp32, max_batch=16)
    machine.load(float_model(tmp_path / "b.onnx", seed=1))
    nano = CudaDevice(
        ORIN.name, ORIN.compute_capability, 4, True, ORIN.memory_bytes
    )  # the same name, half the GPU
    machine.use(machine.trt, FakeCuda(nano))
    machine.use(tensorrt(int(machine.trt.__version__[:2]), machine.cuda), machine.cuda)
    machine.load(fp32)
    assert len(machine.trt._builds) == 1
    machine.trt.__version__ = "10.99.0"
    machine.load(fp32)
    assert len(machine.trt._builds) == 2
    assert len(list(machine.cache.glob("*.engine"))) == 5


def test_a_kept_engine_that_is_no_longer_accepted_is_rebuilt_and_said(
    machine: Machine, fp32: Path
) -> None:
    kept = machine.load(fp32).engine_file.read_bytes()
    rejected: set[str] = {hashlib.sha256(kept).hexdigest()}
    machine.use(
        tensorrt(int(machine.trt.__version__[:2]), machine.cuda, rejects_engines=rejected),
        machine.cuda,
    )
    runner = machine.load(fp32)
    assert len(machine.trt._builds) == 1
    assert runner.engine_file.read_bytes() != kept
    np.testing.assert_allclose(
        runner.run(images(1)), load_ort(fp32, threads=1).run(images(1)), atol=1e-5
    )
    assert (
        "engine to be built: the cached one was not accepted: engine was built by another TensorRT"
        in runner.states
    )


def test_an_engine_that_its_own_builder_does_not_accept_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 11, rejects_all=True)
    with pytest.raises(
        BackendError,
        match="does not accept the engine that it built · got engine was built by another",
    ):
        machine.load(fp32)
    assert not list(machine.cache.glob("*.engine"))


@pytest.mark.parametrize("suffix", [".engine", ".plan", ".trt"])
def test_an_engine_is_never_loaded_from_elsewhere(
    machine: Machine, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"code")
    with pytest.raises(BackendError, match="an engine is not loaded from elsewhere"):
        machine.load(tmp_path / f"model{suffix}")


def test_a_model_that_reaches_outside_itself_is_refused_first(
    machine: Machine, fp32: Path, tmp_path: Path
) -> None:
    model = onnx.load(fp32)
    onnx.save(
        model,
        tmp_path / "out.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(BundleError, match="keeps weights in another file"):
        machine.load(tmp_path / "out.onnx")
    assert machine.trt._builds == []
