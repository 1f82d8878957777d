"""The same backend on a real GPU with a real TensorRT: ``pytest -m gpu
tests/runtime/tensorrt/test_gpu.py`` on a device.

This project has not run it; it is here so that whoever has a device can, and it touches no
stand-in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import SIZE, float_model, int8_model

from runtime.backends.onnxruntime import load as load_ort

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def needs_tensorrt() -> None:
    pytest.importorskip("tensorrt")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


def close(got: np.ndarray, want: np.ndarray, share: float) -> bool:
    return bool(np.abs(got - want).max() <= share * np.ptp(want))


def test_float_engine_agrees_and_comes_back_from_the_cache(tmp_path: Path) -> None:
    from runtime.backends.tensorrt import load

    model = float_model(tmp_path / "a.onnx")
    want = load_ort(model, threads=1)
    runner = load(model, cache=tmp_path / "cache")
    for count in (1, 3, 11):
        assert close(runner.run(images(count)), want.run(images(count)), 1e-3)
    assert "CUDA graph: captured for batch 1" in runner.states
    assert all(milliseconds > 0 for milliseconds in runner.device_ms(images(2), calls=5))
    runner.close()
    again = load(model, cache=tmp_path / "cache")
    assert "engine from the cache" in again.states
    assert close(again.run(images(3)), want.run(images(3)), 1e-3)


def test_symmetric_int8_runs_in_int8_and_agrees(tmp_path: Path) -> None:
    from runtime.backends import BACKENDS
    from runtime.backends.tensorrt import load

    model = int8_model(float_model(tmp_path / "a.onnx"), tmp_path / "q.onnx", symmetric=True)
    runner = load(model, cache=tmp_path / "cache")
    assert BACKENDS["tensorrt"].is_quantized(runner.kernels), runner.states
    assert close(runner.run(images(4)), load_ort(model, threads=1).run(images(4)), 5e-2)
