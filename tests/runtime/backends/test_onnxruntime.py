"""The onnxruntime backend: refusals, and the kernels that ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_bundles import float_model

from runtime import BackendError, Classifier
from runtime.backends import BACKENDS
from runtime.backends.onnxruntime import load, quantized_kernels


def test_graph_the_engine_refuses(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx"))
    model.graph.node[0].op_type = "Convolve"
    (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BackendError, match="cannot load"):
        load(tmp_path / "n.onnx")


def test_wrong_batch_is_our_error(bundle: Path) -> None:
    with pytest.raises(BackendError, match="refused the batch"):
        load(bundle / "model.fp32.onnx", threads=1).run(np.zeros((1, 3, 5, 5), np.float32))


def test_profile_counts_the_integer_kernels_that_ran(bundle: Path) -> None:
    row = BACKENDS["onnxruntime"]
    integer = quantized_kernels(bundle / "model.int8.onnx")
    assert integer["QLinearConv"] == 2 and row.is_quantized(integer)
    floating = quantized_kernels(bundle / "model.fp32.onnx")
    assert not any(name.startswith("QLinear") for name in floating)
    assert not row.is_quantized(floating)


def test_absent_provider_lists_those_present(bundle: Path) -> None:
    with pytest.raises(
        BackendError, match="provider NpuExecutionProvider is absent.*CPUExecutionProvider present"
    ):
        Classifier.load(bundle, provider="NpuExecutionProvider")
