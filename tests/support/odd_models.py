"""Models that give no answer, or take any time or memory, put into a bundle as another build's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from manifests import manifest_of
from onnx import TensorProto, helper, numpy_helper


def reseal(bundle: Path) -> None:
    """Makes the manifest agree with changed files: another build, not damage."""
    manifest = manifest_of(bundle)
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


def _constant(model: onnx.ModelProto, name: str, values: object) -> str:
    array = np.array(values, np.int64)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _add_largest(model: onnx.ModelProto, name: str) -> None:
    """The logits are those before and the largest value of a tensor."""
    model.graph.node.append(helper.make_node("ReduceMax", [name], ["largest"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["before", "largest"], ["logits"]))


def computed_expand(model: onnx.ModelProto) -> None:
    """A number as often as a multiple of the image's sizes says."""
    rename_logits(model)
    factors = _constant(model, "factors", [1, 1000, 100, 100])
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["before"], ["top"], keepdims=0),
            helper.make_node("Shape", ["images"], ["sizes"]),
            helper.make_node("Mul", ["sizes", factors], ["shape"]),
            helper.make_node("Expand", ["top", "shape"], ["huge"]),
        ]
    )
    _add_largest(model, "huge")


def outer_product(model: onnx.ModelProto) -> None:
    """The image times itself and again, each time on axes of its own."""
    rename_logits(model)
    equation = "abcd,efgh,ijkl->abcdefghijkl"
    model.graph.node.append(helper.make_node("Einsum", ["images"] * 3, ["huge"], equation=equation))
    _add_largest(model, "huge")


def many_products(model: onnx.ModelProto) -> None:
    """Sixty products of large matrices, of a few bytes."""
    rename_logits(model)
    made = [helper.make_node("ConstantOfShape", [_constant(model, "size", [16000] * 2)], ["m0"])]
    made += [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(60)]
    model.graph.node.extend(made)
    _add_largest(model, "m60")


UNBOUNDED = (doubling, computed_expand, outer_product, many_products)


def outer_sums(model: onnx.ModelProto) -> None:
    """Each value plus each value, again and again: no shape in the file shows it."""
    rename_logits(model)
    row, column = _constant(model, "row", [1, -1]), _constant(model, "column", [-1, 1])
    for i in range(4):
        name = "before" if i == 0 else f"sum_{i}"
        model.graph.node.append(helper.make_node("Reshape", [name, row], [f"row_{i}"]))
        model.graph.node.append(helper.make_node("Reshape", [name, column], [f"column_{i}"]))
        model.graph.node.append(
            helper.make_node("Add", [f"row_{i}", f"column_{i}"], [f"sum_{i + 1}"])
        )
    _add_largest(model, "sum_4")


def unseen_products(model: onnx.ModelProto) -> None:
    """Sixty large products of matrices whose shapes stand nowhere."""
    rename_logits(model)
    flat = _constant(model, "flat", [6000 * 6000])
    square = _constant(model, "square", [6000, -1])
    made = [helper.make_node("ConstantOfShape", [flat], ["line"])]
    made.append(helper.make_node("Reshape", ["line", square], ["m0"]))
    made += [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(60)]
    model.graph.node.extend(made)
    _add_largest(model, "m60")


HIDDEN = (outer_sums, unseen_products)


def _instead(op: str, **attributes: int) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        rename_logits(model)
        model.graph.node.append(helper.make_node(op, ["before"], ["logits"], **attributes))
        (logits,) = (value for value in model.graph.output if value.name == "logits")
        if op == "Cast":
            logits.type.tensor_type.elem_type = attributes["to"]
        logits.type.tensor_type.ClearField("shape")

    return edit


whole_number_logits = _instead("Cast", to=TensorProto.INT64)
one_row_for_a_batch = _instead("Flatten", axis=0)
