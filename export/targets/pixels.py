"""Preprocessing inside the graph: the model takes uint8 pixels, so no app can get it wrong.

``u8in`` takes cropped pixels (B, S, S, 3) and normalizes them. ``image`` takes whole images (1, H,
W, 3) and does all of ``runtime.preprocess.geometry`` as well: the antialiased resize of the shorter
side, the central crop, the normalization. Sizes and offsets are the same integers as there, and the
resize goes as Pillow's does: the width first, rounded to 8 bit, then the height. What differs are
Pillow's fixed-point weights: a pixel in a thousand is one step of 255 off (of an enlarged image up
to one in ten), which is measured (export/targets/parity.py).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from compress.engine.errors import ExportError
from export.onnx.graph import remove_unused
from runtime.preprocess import PreprocessSpec

# input names, by which the runtime knows what a model takes
PIXELS = "pixels"
IMAGE = "image"
# attributes of Resize; Pillow's bicubic: a = -0.5, weights of pixels outside the image are left out
MODES: dict[str, dict[str, Any]] = {
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
    "bilinear": {"mode": "linear"},
}
PREFIX = "preprocess"
CROPPED = f"{PREFIX}/cropped"


def takes_pixels(model: ModelProto, spec: PreprocessSpec) -> ModelProto:
    """A copy with input ``pixels`` uint8 (B, S, S, 3): cropped images, normalized in the graph."""
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch = int(dim.dim_value) if dim.HasField("dim_value") else str(dim.dim_param)
    transposed = f"{PREFIX}/nchw"
    pixels = f"{PREFIX}/float"
    make = helper.make_node
    nodes = [
        make("Transpose", [PIXELS], [transposed], f"{PREFIX}/transpose", perm=[0, 3, 1, 2]),
        make("Cast", [transposed], [pixels], f"{PREFIX}/cast", to=TensorProto.FLOAT),
        *_normalize(pixels, _float_input(model)),
    ]
    shape = [batch, spec.size, spec.size, 3]
    entry = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, shape)
    return _in_front(model, nodes, _constants(spec), entry)


def takes_image(model: ModelProto, spec: PreprocessSpec) -> ModelProto:
    """A copy with input ``image`` uint8 (1, H, W, 3): one upright RGB image of any size.

    Raises: ExportError: an interpolation that ONNX's Resize does not have.
    """
    if spec.interpolation not in MODES:
        expected = " or ".join(MODES)
        raise ExportError("interpolation in the graph", got=spec.interpolation, expected=expected)
    how: dict[str, Any] = {"antialias": 1, "coordinate_transformation_mode": "half_pixel"}
    how |= MODES[spec.interpolation]

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        names = [f"{PREFIX}/{name}" if name and name != IMAGE else name for name in inputs]
        output = f"{PREFIX}/{output}"
        return helper.make_node(op, names, [output], output, **attributes)

    def resize(source: str, sizes: str, target: str) -> list[NodeProto]:
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
        # Pillow's order: the width, rounded to 8 bit, then the height
        *resize("float", "wide_sizes", "wide"),
        *resize("wide", "sizes", "rounded"),
        node("Sub", ["target", "size"], "spare"),
        node("Cast", ["spare"], "spare_float", to=TensorProto.FLOAT),
        node("Mul", ["spare_float", "half"], "middle"),
        node("Round", ["middle"], "start_float"),  # half to even, as geometry does
        node("Cast", ["start_float"], "start", to=TensorProto.INT64),
        node("Add", ["start", "size"], "end"),
        node("Slice", ["rounded", "start", "end", "axes"], "cropped"),
        *_normalize(CROPPED, _float_input(model)),
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
    tensors = [numpy_helper.from_array(v, f"{PREFIX}/{name}") for name, v in constants.items()]
    entry = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, "height", "width", 3])
    twin = _in_front(model, nodes, [*_constants(spec), *tensors], entry)
    for value in twin.graph.output:
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return twin


def cropped_pixels(model: ModelProto) -> ModelProto:
    """The geometry of a ``takes_image`` model: ``image`` -> ``CROPPED`` float32 (1, 3, S, S)."""
    twin = copy.deepcopy(model)
    del twin.graph.output[:]
    shape = [1, 3, None, None]
    twin.graph.output.append(helper.make_tensor_value_info(CROPPED, TensorProto.FLOAT, shape))
    remove_unused(twin)
    return twin


def _normalize(source: str, target: str) -> list[NodeProto]:
    centered = f"{PREFIX}/centred"
    return [
        helper.make_node("Sub", [source, f"{PREFIX}/mean"], [centered], centered),
        helper.make_node("Div", [centered, f"{PREFIX}/std"], [target], f"{PREFIX}/normalised"),
    ]


def _constants(spec: PreprocessSpec) -> list[TensorProto]:
    """Mean and standard deviation of pixels in 0..255, float32 (1, 3, 1, 1)."""
    values = ((255 * np.array(v)).astype(np.float32) for v in (spec.mean, spec.std))
    tensors = zip(values, ("mean", "std"), strict=True)
    return [
        numpy_helper.from_array(v.reshape(1, 3, 1, 1), f"{PREFIX}/{name}") for v, name in tensors
    ]


def _float_input(model: ModelProto) -> str:
    (entry,) = model.graph.input
    if entry.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ExportError("the model takes pixels already, not float32", got=entry.name)
    return str(entry.name)


def _in_front(
    model: ModelProto, nodes: list[NodeProto], constants: list[TensorProto], entry: ValueInfoProto
) -> ModelProto:
    """A copy whose float input ``nodes`` compute from ``entry``."""
    twin = copy.deepcopy(model)
    del twin.graph.node[:], twin.graph.input[:]
    twin.graph.node.extend([*nodes, *model.graph.node])
    twin.graph.initializer.extend(constants)
    twin.graph.input.append(entry)
    return twin
