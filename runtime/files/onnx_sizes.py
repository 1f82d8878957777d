"""Sizes that an ONNX file writes down for its operators: a few bytes can ask for terabytes.

Only constants are read. What follows from them is judged in ``onnx_growth``; what a graph computes
from its input is bounded where the model runs: ``runtime.backends.limited``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

# Operator -> the inputs that say how large its result is (onnx.ai/onnx/operators).
SIZE_INPUTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1,),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
    "Upsample": (1,),
}
_ATTRIBUTES = """
    pads paddings output_padding output_shape kernel_shape strides dilations shape scales size
    block_size blocksize height_scale width_scale
"""
SIZE_ATTRIBUTES = frozenset(_ATTRIBUTES.split())
FACTORS = frozenset({"Tile", "Upsample"})  # their numbers multiply what is there
MAX_ELEMENTS = 2**28  # of one tensor; a gigabyte of float32
MAX_FACTOR = 2**16
MAX_LISTED = 64  # numbers of a constant that can be a size

FORMATS = {1: "f", 6: "i", 7: "q", 11: "d"}  # TensorProto.DataType -> struct's code

Fields = Sequence[tuple[int, memoryview | int]]  # of one message: number and value
Numbers = Sequence[float]


def numbers(fields: Fields) -> Numbers | None:
    """The values of a small TensorProto of numbers that are kept raw or in a packed list."""
    kind = next((value for number, value in fields if number == 2), 0)
    code = FORMATS.get(kind) if isinstance(kind, int) else None
    if code is None:
        return None
    values: list[float] = []
    for number, value in fields:
        if number in (4, 9, 10) and isinstance(value, memoryview):  # float, raw and double data
            values += _unpacked(value, code)
        elif number in (5, 7):  # int32 and int64 data
            values += [_signed(value)] if isinstance(value, int) else varints(value)
        if len(values) > MAX_LISTED:
            return None
    return values


def _unpacked(data: memoryview, code: str) -> Numbers:
    size = struct.calcsize(code)
    if len(data) > (MAX_LISTED + 1) * size or len(data) % size:
        return [0.0] * (MAX_LISTED + 1)
    return [value for (value,) in struct.iter_unpack(f"<{code}", data)]


def varints(data: memoryview) -> list[int]:
    """The first signed numbers of a packed list, one more than ``MAX_LISTED`` at most."""
    out: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(_signed(value))
            value = shift = 0
            if len(out) > MAX_LISTED:
                break
        elif shift > 63:
            raise ValueError("number too long")
    return out


def tensor_problem(fields: Fields, held: int) -> str | None:
    """What is wrong with a TensorProto of ``held`` bytes; types of 4 bits are the smallest."""
    shape = listed(fields, 1)
    is_held = math.prod(shape) <= 2 * held
    return None if is_held else f"a tensor of {' x '.join(map(str, shape))} in {held:,} bytes"


def dense_problem(fields: Fields) -> str | None:
    """What is wrong with the shape of a SparseTensorProto."""
    return problem("a sparse tensor", listed(fields, 3))


def attribute_problem(name: str, fields: Fields) -> str | None:
    """What is wrong with an AttributeProto that is a size."""
    if name not in SIZE_ATTRIBUTES:
        return None
    floats = [_unpacked(v, "f") for n, v in fields if n == 7 and isinstance(v, memoryview)]
    return problem(
        name, [*listed(fields, 3), *listed(fields, 8), *(f for row in floats for f in row)]
    )


def listed(fields: Fields, number: int) -> list[int]:
    """Signed numbers of a field, one by one or packed."""
    out: list[int] = []
    for own, value in fields:
        if own == number:
            out += varints(value) if isinstance(value, memoryview) else [_signed(value)]
    return out


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def result_problem(op: str, inputs: Sequence[Sequence[Numbers]]) -> str | None:
    """What is wrong with the constants that an operator's result is as large as.

    ``inputs``: what each of its ``SIZE_INPUTS`` may be; nothing if the graph computes it.
    """
    if op == "Range":
        if not all(inputs):
            return None
        start, limit, step = (rows[0][0] if rows[0] else 0 for rows in inputs)
        return problem(op, [(limit - start) / step if step else 0.0])
    wrong = (problem(op, values) for rows in inputs for values in rows)
    return next(filter(None, wrong), None)


def problem(op: str, values: Numbers) -> str | None:
    """What is wrong with the sizes of an operator's result."""
    sizes = [abs(value) for value in values if value]
    most = MAX_FACTOR if op in FACTORS else MAX_ELEMENTS
    if all(map(math.isfinite, sizes)) and math.prod(sizes) <= most:
        return None
    return f"{op} of {', '.join(f'{value:g}' for value in values[:8])}"
