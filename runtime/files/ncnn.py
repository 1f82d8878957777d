"""Reads and checks an ncnn model (.param, and the weights in a .bin) before the engine may open it.

The format is ncnn's "param and model file structure": a magic number, the counts of layers and of
blobs, then a layer a line: type, name, number of inputs and of outputs, their blobs, and parameters
``id=value`` (arrays: ``-23300-id=count,values``). ncnn trusts a file, so what a classifier of ours
needs is allowed and everything else refused: other layers, sizes without bound, and weights that
the .bin does not hold byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BundleError
from runtime.files.manifest import MAX_FILE_BYTES, companion
from runtime.files.onnx_sizes import MAX_ELEMENTS
from runtime.files.regular import COPY_AGAIN, open_regular, read_regular

SUFFIX = ".param"
MAGIC = "7767517"
MAX_PARAM_BYTES = 4 * 2**20
MAX_LAYERS = 4096
MAX_EDGE = 8192  # pixels of an input, and of a window
ARRAY = -23300
HALF_TAG = bytes.fromhex("476b3001")  # of weights that are stored in float16
NAME = re.compile(r"[\w./:-]{1,256}")
NUMBER = re.compile(r"-?[0-9][0-9.eE+-]{0,30}")

_PLAIN = """
    Input Split Concat Flatten ReLU Clip Sigmoid HardSigmoid HardSwish Swish Mish GELU TanH Softmax
    Dropout Noop Pooling Reduction BinaryOp UnaryOp Normalize Squeeze ExpandDims Eltwise Padding
    Reshape Permute Slice Crop Interp
"""
_WEIGHTED = ("Convolution", "ConvolutionDepthWise", "InnerProduct")


@dataclass(frozen=True)
class Layer:
    """A line of a .param file."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[int, str]  # id -> value as it is written

    def number(self, index: int, default: int = 0) -> int:
        """A parameter as a whole number."""
        return int(self.numbers.get(index, default))

    @property
    def weights(self) -> tuple[int, int]:
        """Number of weights, and of biases."""
        if self.kind == "InnerProduct":
            return self.number(2), self.number(0) * self.number(1)
        if self.kind in _WEIGHTED:
            return self.number(6), self.number(0) * self.number(5)
        return 0, 0

    def text(self) -> str:
        """The line."""
        counts = f"{len(self.inputs)} {len(self.outputs)}"
        numbers = " ".join(f"{index}={value}" for index, value in self.numbers.items())
        blobs = " ".join([*self.inputs, *self.outputs])
        return f"{self.kind:24} {self.name:24} {counts} {blobs} {numbers}".rstrip()


@dataclass(frozen=True)
class Param:
    """The graph of a model."""

    layers: tuple[Layer, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of the model's inputs."""
        return [name for layer in self.layers if layer.kind == "Input" for name in layer.outputs]

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer reads."""
        read = {name for layer in self.layers for name in layer.inputs}
        return [name for layer in self.layers for name in layer.outputs if name not in read]

    @property
    def size(self) -> int | None:
        """Edge of the input in pixels, where the file says it."""
        layer = next(layer for layer in self.layers if layer.kind == "Input")
        return layer.number(0) or None

    def text(self) -> str:
        """The file."""
        blobs = len({name for layer in self.layers for name in layer.outputs})
        lines = [MAGIC, f"{len(self.layers)} {blobs}", *(layer.text() for layer in self.layers)]
        return "".join(f"{line}\n" for line in lines)


def weights(path: Path) -> Path:
    """The file of a model's weights."""
    return path.with_name(companion(path.name) or "")


def check(path: Path) -> Param:
    """The graph in a .param file.

    Raises: BundleError: damaged, or with anything that a classifier of ours never needs.
    """
    try:
        param = parse(read_regular(path, MAX_PARAM_BYTES).decode("ascii"))
    except (ValueError, KeyError, StopIteration) as error:
        what = f"{path} is not an ncnn model that this runtime takes"
        raise BundleError(what, got=str(error)[:300], remedy=COPY_AGAIN) from error
    _require_weights(path, param)
    return param


def parse(text: str) -> Param:
    """The graph in the text of a .param file; a ValueError if it is none."""
    lines = text.splitlines()
    if len(lines) < 3 or lines[0].strip() != MAGIC:
        raise ValueError(f"no magic number {MAGIC}")
    if len(lines) > MAX_LAYERS:
        raise ValueError(f"{len(lines)} lines, at most {MAX_LAYERS}")
    layers = tuple(_layer(line) for line in lines[2:] if line.strip())
    made: set[str] = set()
    for layer in layers:
        if gone := set(layer.inputs) - made:
            raise ValueError(f"{layer.name} reads {min(gone)}, which no layer before it makes")
        if again := made & set(layer.outputs):
            raise ValueError(f"{min(again)} is made twice")
        made.update(layer.outputs)
    if lines[1].split() != [str(len(layers)), str(len(made))]:
        raise ValueError(f"{lines[1][:40]!r} for {len(layers)} layers and {len(made)} blobs")
    if sum(layer.kind == "Input" for layer in layers) != 1:
        raise ValueError("not one input")
    return Param(layers)


def _layer(line: str) -> Layer:
    kind, name, given, made, *rest = line.split()
    if kind not in _RULES or not NAME.fullmatch(name):
        raise ValueError(f"layer {kind[:80]!r} named {name[:80]!r}")
    if not (given + made).isdigit() or int(given) + int(made) > min(len(rest), 256):
        raise ValueError(f"{name} with {given[:20]} inputs and {made[:20]} outputs")
    end = int(given) + int(made)
    blobs = rest[:end]
    if not all(map(NAME.fullmatch, blobs)) or len({*blobs[int(given) :]}) != int(made):
        raise ValueError(f"blobs of {name}")
    numbers: dict[int, str] = {}
    for pair in rest[end:]:
        key, _, value = pair.partition("=")
        index = int(key)
        if index in numbers or not -23400 < index < 100:
            raise ValueError(f"parameter {key[:20]} of {name}")
        numbers[index] = value
        _require_numbers(name, index, value)
    layer = Layer(kind, name, tuple(blobs[: int(given)]), tuple(blobs[int(given) :]), numbers)
    if problem := _RULES[kind](layer):
        raise ValueError(f"{kind} {name}: {problem}")
    return layer


def _require_numbers(name: str, index: int, value: str) -> None:
    parts = value.split(",")
    if index <= ARRAY:
        count, *parts = parts
        if count != str(len(parts)) or len(parts) > 64:
            raise ValueError(f"array {index} of {name}")
    elif len(parts) != 1:
        raise ValueError(f"parameter {index} of {name}")
    for part in parts:
        if not NUMBER.fullmatch(part) or not abs(float(part)) <= 3.5e38:
            raise ValueError(f"parameter {index} of {name}: {part[:40]!r}")


def _no_rule(layer: Layer) -> str:
    return ""


def _input_rule(layer: Layer) -> str:
    edges = [layer.number(index) for index in (0, 1, 2)]
    return "" if all(0 <= edge <= MAX_EDGE for edge in edges) else f"shape {edges}"


def _window_rule(layer: Layer) -> str:
    """Windows, steps, dilations and pads of a convolution or pool."""
    pads = (4, 13, 14, 15, 16)
    values = [layer.number(index) for index in (1, 2, 3, 11, 12, 13) if index in layer.numbers]
    padding = [layer.number(index) for index in pads if index in layer.numbers]
    fits = all(0 <= value <= MAX_EDGE for value in values)
    return "" if fits and all(abs(pad) <= MAX_EDGE for pad in padding) else "a window too large"


def _convolution_rule(layer: Layer) -> str:
    outputs, count, width = layer.number(0), layer.number(6), layer.number(1)
    height, group = layer.number(11, width), layer.number(7, 1)
    area = width * height
    if not 0 < outputs <= 2**20 or not 0 < area <= MAX_EDGE or not 0 < group <= outputs:
        return f"{outputs} outputs of {width} x {height}, {group} groups"
    if not 0 < count <= MAX_ELEMENTS or count % (outputs * area) or outputs % group:
        return f"{count} weights for {outputs} outputs of {width} x {height}, {group} groups"
    if layer.number(8) or layer.number(19):
        return "int8 or dynamic weights"
    return _window_rule(layer)


def _product_rule(layer: Layer) -> str:
    outputs, count = layer.number(0), layer.number(2)
    if not 0 < outputs <= 2**20 or not 0 < count <= MAX_ELEMENTS or count % outputs:
        return f"{count} weights for {outputs} outputs"
    return "int8 weights" if layer.number(8) else ""


# Layer -> what is wrong with one, "" if nothing.
_RULES: dict[str, Callable[[Layer], str]] = dict.fromkeys(_PLAIN.split(), _no_rule)
_RULES |= {"Input": _input_rule, "Pooling": _window_rule, "InnerProduct": _product_rule}
_RULES |= dict.fromkeys(("Convolution", "ConvolutionDepthWise"), _convolution_rule)


def _require_weights(path: Path, param: Param) -> None:
    """BundleError unless the .bin holds exactly the weights that the layers read, in their order.

    Each layer's begin with a tag of four bytes: zero for float32, ``HALF_TAG`` for float16, padded
    to a multiple of four bytes. Its biases follow in float32.
    """
    file = weights(path)
    with open_regular(file, MAX_FILE_BYTES) as stream:
        size = stream.seek(0, 2)
        at = 0
        for layer in param.layers:
            count, biases = layer.weights
            if not count:
                continue
            stream.seek(at)
            tag = stream.read(4)
            if tag not in (bytes(4), HALF_TAG):
                what = f"{file} is not the weights of {path.name}"
                raise BundleError(what, got=f"tag {tag.hex()} of {layer.name}", remedy=COPY_AGAIN)
            at += 4 + (-(-count * 2 // 4) * 4 if tag == HALF_TAG else count * 4) + biases * 4
    if at != size:
        what = f"{file} is not the weights of {path.name}"
        expected = f"{at:,} bytes"
        raise BundleError(what, got=f"{size:,} bytes", expected=expected, remedy=COPY_AGAIN)
