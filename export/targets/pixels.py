"""Preprocessing inside the graph: the model takes uint8 pixels, so that an app in any language
cannot get it wrong.

``u8in`` takes cropped pixels (B, S, S, 3) and normalizes them. ``image`` takes whole images (1, H,
W, 3) and does all of ``runtime.preprocess.geometry`` as well: the antialiased resize of the shorter
side, the central crop, the normalization. Sizes and offsets are the same integers as there, and the
resize goes as Pillow's does: the width first, rounded to 8 bit, then the height. What is left are
Pillow's fixed-point weights: a pixel in a thousand is one step of 255 off (of an enlarged image up
to one in ten), which is measured (export/targets/parity.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compress.engine.errors import ExportError
from runtime.preprocess import PreprocessSpec

PIXELS, IMAGE = "pixels", "image"  # input names; the runtime tells by them what a model takes
MODES = {"bicubic": "cubic", "bilinear": "linear"}
PREFIX = "preprocess"


def takes_pixels(model: ModelProto, spec: PreprocessSpec) -> ModelProto:
    """A copy with input ``pixels`` uint8 (B, S, S, 3): cropped images, normalized in the graph."""
    batch = _batch(model)
    nodes = [
        helper.make_node(
            "Transpose", [PIXELS], [f"{PREFIX}/nchw"], f"{PREFIX}/transpose", perm=[0, 3, 1, 2]
        )
    ]
    nodes += [
        helper.make_node(
            "Cast", [f"{PREFIX}/nchw"], [f"{PREFIX}/float"], f"{PREFIX}/cast", to=TensorProto.FLOAT
        )
    ]
    return _in_front(
        model,
        [*nodes, *_normalize(f"{PREFIX}/float", _float_input(model))],
        _constants(spec),
        helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [batch, spec.size, spec.size, 3]),
    )


def takes_image(model: ModelProto, spec: PreprocessSpec) -> ModelProto:
    """A copy with input ``image`` uint8 (1, H, W, 3): one upright RGB image of any size; its batch
    is 1.

    Raises:
        ExportError: an interpolation that ONNX's Resize does not have.
    """
    if spec.interpolation not in MODES:
        raise ExportError(
            "interpolation in the graph", got=spec.interpolation, expected=" or ".join(MODES)
        )
    mode = MODES[spec.interpolation]
    # Pillow's bicubic: a = -0.5, and weights of pixels outside the image are left out
    cubic: dict[str, Any] = {"cubic_coeff_a": -0.5, "exclude_outside": 1} if mode == "cubic" else {}

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        names = [f"{PREFIX}/{name}" if name and name not in (IMAGE,) else name for name in inputs]
        return helper.make_node(
            op, names, [f"{PREFIX}/{output}"], f"{PREFIX}/{output}", **attributes
        )

    def resize(source: str, name: str) -> list[NodeProto]:
        sizes, target = (f"{name}_sizes", name) if name else ("sizes", "rounded")
        how: dict[str, Any] = {
            "mode": mode,
            "antialias": 1,
            "coordinate_transformation_mode": "half_pixel",
            **cubic,
        }
        return [
            node("Resize", [source, "", "", sizes], f"{target}_resized", **how),
            node("Clip", [f"{target}_resized", "black", "white"], f"{target}_clipped"),
            node("Add", [f"{target}_clipped", "half"], f"{target}_up"),
            node("Floor", [f"{target}_up"], target),  # Pillow rounds halves up
        ]

    nodes = [
        node("Shape", [IMAGE], "height_width", start=1, end=3),
        node("ReduceMin", ["height_width"], "short", keepdims=1),
        node("Mul", ["height_width", "resize"], "scaled"),
        node("Div", ["scaled", "short"], "target"),  # of integers: rounds down
        node("Slice", ["height_width", "zero", "one"], "height"),
        node("Slice", ["target", "one", "two"], "target_width"),
        node("Concat", ["one_three", "height", "target_width"], "wide_sizes", axis=0),
        node("Concat", ["one_three", "target"], "sizes", axis=0),
        node("Transpose", [IMAGE], "nchw", perm=[0, 3, 1, 2]),
        node("Cast", ["nchw"], "float", to=TensorProto.FLOAT),
        *resize("float", "wide"),  # Pillow's order: the width, rounded to 8 bit, then the height
        *resize("wide", ""),
        node("Sub", ["target", "size"], "spare"),
        node("Cast", ["spare"], "spare_float", to=TensorProto.FLOAT),
        node("Mul", ["spare_float", "half"], "middle"),
        node("Round", ["middle"], "start_float"),  # half to even, as geometry does
        node("Cast", ["start_float"], "start", to=TensorProto.INT64),
        node("Add", ["start", "size"], "end"),
        node("Slice", ["rounded", "start", "end", "axes"], "cropped"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "resize": np.array([spec.resize], np.int64),
        "size": np.array([spec.size] * 2, np.int64),
        "one_three": np.array([1, 3], np.int64),
        "axes": np.array([2, 3], np.int64),
        "black": np.array(0, np.float32),
        "white": np.array(255, np.float32),
        "half": np.array(0.5, np.float32),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
    }
    twin = _in_front(
        model,
        [*nodes, *_normalize(f"{PREFIX}/cropped", _float_input(model))],
        [
            *_constants(spec),
            *(
                numpy_helper.from_array(value, f"{PREFIX}/{name}")
                for name, value in constants.items()
            ),
        ],
        helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, "height", "width", 3]),
    )
    for value in twin.graph.output:
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return twin


def cropped_pixels(model: ModelProto) -> ModelProto:
    """The preprocessing of a ``takes_image`` model alone: ``image`` -> ``preprocess/cropped``
    float32 (1, 3, S, S).
    """
    twin = ModelProto()
    twin.CopyFrom(model)
    front = [node for node in twin.graph.node if node.name.startswith(f"{PREFIX}/")]
    del twin.graph.node[:], twin.graph.output[:]
    twin.graph.node.extend(front)
    twin.graph.output.append(
        helper.make_tensor_value_info(f"{PREFIX}/cropped", TensorProto.FLOAT, [1, 3, None, None])
    )
    used = {name for node in front for name in node.input}
    for tensor in [tensor for tensor in twin.graph.initializer if tensor.name not in used]:
        twin.graph.initializer.remove(tensor)
    return twin


def _normalize(source: str, target: str) -> list[NodeProto]:
    return [
        helper.make_node(
            "Sub", [source, f"{PREFIX}/mean"], [f"{PREFIX}/centred"], f"{PREFIX}/centred"
        ),
        helper.make_node(
            "Div", [f"{PREFIX}/centred", f"{PREFIX}/std"], [target], f"{PREFIX}/normalised"
        ),
    ]


def _constants(spec: PreprocessSpec) -> list[TensorProto]:
    """Mean and standard deviation of pixels in 0..255, float32 (1, 3, 1, 1)."""
    pairs = (("mean", spec.mean), ("std", spec.std))
    return [
        numpy_helper.from_array(
            (255 * np.array(values)).astype(np.float32).reshape(1, 3, 1, 1), f"{PREFIX}/{name}"
        )
        for name, values in pairs
    ]


def _float_input(model: ModelProto) -> str:
    (entry,) = model.graph.input
    if entry.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ExportError(
            "the model takes pixels already", got=entry.name, expected="a float32 input"
        )
    return str(entry.name)


def _batch(model: ModelProto) -> int | str:
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    return int(dim.dim_value) if dim.HasField("dim_value") else str(dim.dim_param)


def _in_front(
    model: ModelProto,
    nodes: list[NodeProto],
    constants: list[TensorProto],
    entry: onnx.ValueInfoProto,
) -> ModelProto:
    """A copy whose float input is made by ``nodes`` from ``entry``."""
    twin = ModelProto()
    twin.CopyFrom(model)
    rest = list(model.graph.node)
    del twin.graph.node[:], twin.graph.input[:]
    twin.graph.node.extend([*nodes, *rest])
    twin.graph.initializer.extend(constants)
    twin.graph.input.append(entry)
    return twin
