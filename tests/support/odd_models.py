"""Models that give no answer, or take any time or memory, put into a bundle as another build's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def reseal(bundle: Path) -> None:
    """Makes the manifest agree with changed files: another build, not damage."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    for name in manifest["files"]:
        data = (bundle / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def change(bundle: Path, names: tuple[str, ...], edit: Callable[[onnx.ModelProto], None]) -> None:
    for name in names:
        model = onnx.load(bundle / name)
        edit(model)
        (bundle / name).write_bytes(model.SerializeToString())
    reseal(bundle)


def rename_logits(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["before" if name == "logits" else name for name in node.output]


def times(value: float) -> Callable[[onnx.ModelProto], None]:
    """Logits multiplied by a number, e.g. NaN."""

    def edit(model: onnx.ModelProto) -> None:
        rename_logits(model)
        factor = numpy_helper.from_array(np.array(value, np.float32), "factor")
        model.graph.initializer.append(factor)
        model.graph.node.append(helper.make_node("Mul", ["before", "factor"], ["logits"]))

    return edit


def growing(op: str, sizes: list[float], kind: type = np.int64) -> Callable[..., None]:
    """A node beside the logits whose result is as large as its constants say."""

    def edit(model: onnx.ModelProto) -> None:
        names = [f"size{index}" for index in range(len(sizes))] if op == "Range" else ["size"]
        values = sizes if op == "Range" else [sizes]
        for name, value in zip(names, values, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.array(value, kind), name))
        inputs = names if op in ("Range", "ConstantOfShape") else ["logits", *names]
        model.graph.node.append(helper.make_node(op, inputs, ["huge"]))

    return edit


def endless_loop(model: onnx.ModelProto) -> None:
    rename_logits(model)
    nodes = [helper.make_node("Identity", [f"{name}_in"], [f"{name}_out"]) for name in "cv"]
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c_in", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v_in", TensorProto.FLOAT, None),
    ]
    outputs = [
        helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
    ]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "count"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    loop = helper.make_node("Loop", ["count", "go", "before"], ["logits"], body=body)
    model.graph.node.append(loop)


def doubling(model: onnx.ModelProto) -> None:
    """A tensor joined to itself 40 times: a size that no constant in the file shows."""
    rename_logits(model)
    names = ["before", *(f"d{index}" for index in range(40))]
    for small, large in zip(names, names[1:], strict=False):
        model.graph.node.append(helper.make_node("Concat", [small, small], [large], axis=0))
    model.graph.node.append(helper.make_node("Identity", [names[-1]], ["logits"]))
