"""Graphs of a few nodes, run by onnxruntime after ONNX's full checks."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.onnx.parity import cpu_session
from export.targets import shapes


def run(model: ModelProto, values: np.ndarray, output: str = "logits") -> np.ndarray:
    """An output of a model after ONNX's full check and strict shape inference."""
    onnx.checker.check_model(model, full_check=True)
    shapes.infer(model)
    session = cpu_session(model.SerializeToString())
    out: np.ndarray = session.run([output], {session.get_inputs()[0].name: values})[0]
    return out


def chain(
    *nodes: onnx.NodeProto, constants: dict[str, np.ndarray], channels: int = 3
) -> ModelProto:
    """``images (batch, channels, 4, 4)`` through ``nodes`` to ``logits``."""
    graph = helper.make_graph(
        list(nodes),
        "chain",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    del inferred.graph.value_info[:]
    return inferred
