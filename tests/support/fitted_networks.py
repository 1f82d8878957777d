"""ONNX classifiers without training: random convolutions, and heads fitted in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.onnx.parity import onnx_logits


def network(
    size: int, width: int, classes: int, seed: int, outputs: tuple[str, ...] = ("logits",)
) -> onnx.ModelProto:
    """conv, relu, conv, relu, mean, gemm with random weights; gemms are zero until ``fit_head``."""
    features = 2 * width * 16
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        scale = np.sqrt(2 / max(int(np.prod(shape[1:])), 1))
        return numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), name)

    def conv(name: str, source: str, target: str, edge: int) -> onnx.NodeProto:
        pads = [edge // 2] * 4
        inputs = [source, f"w{name}", f"b{name}"]
        return helper.make_node(
            "Conv", inputs, [target], strides=[2, 2], pads=pads, kernel_shape=[edge, edge]
        )

    initializers = [
        weight("w1", width, 3, 5, 5),
        numpy_helper.from_array(rng.normal(0, 0.3, width).astype(np.float32), "b1"),
        weight("w2", 2 * width, width, 3, 3),
        numpy_helper.from_array(rng.normal(0, 0.3, 2 * width).astype(np.float32), "b2"),
        numpy_helper.from_array(np.array([-1, features], np.int64), "flat"),
    ]
    window = {"kernel_shape": [size // 16] * 2, "strides": [size // 16] * 2}
    nodes = [
        conv("1", "images", "c1", 5),
        helper.make_node("Relu", ["c1"], ["r1"]),
        conv("2", "r1", "c2", 3),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("AveragePool", ["r2"], ["pooled"], **window),
        helper.make_node("Reshape", ["pooled", "flat"], ["features"]),
    ]
    for output in outputs:
        inputs = ["features", f"head_{output}", f"bias_{output}"]
        initializers += [
            numpy_helper.from_array(np.zeros((classes, features), np.float32), inputs[1]),
            numpy_helper.from_array(np.zeros(classes, np.float32), inputs[2]),
        ]
        nodes.append(helper.make_node("Gemm", inputs, [output], transB=1))

    widths = {**dict.fromkeys(outputs, classes), "features": features}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["B", 3, size, size])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", number])
            for name, number in widths.items()
        ],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def fit_head(
    model: onnx.ModelProto,
    path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    output: str,
    ridge: float,
) -> None:
    """Ridge regression of one-hot labels, scaled so that confidences look real."""
    onnx.save(model, path)
    features = onnx_logits(path, "features")(images)
    center = features.mean(axis=0)
    x, y = features - center, np.eye(labels.max() + 1)[labels] * 12 - 1
    head = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y).T.astype(np.float32)
    bias = (y.mean(axis=0) - head @ center).astype(np.float32)
    for tensor in model.graph.initializer:
        for name, value in ((f"head_{output}", head), (f"bias_{output}", bias)):
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(value, name))
    onnx.save(model, path)
