"""How large the results of an ONNX graph become at least, as far as its file alone says it.

Every tensor has a lower bound of its elements, and a shape where the file settles it; what depends
on the image's content, or on an operator that is not listed here, counts as one element. Open
dimensions count as 1. So nothing that an engine could run within the limits is refused, and not all
that exceeds them is found: that takes ``runtime.backends.limited``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.files.onnx_sizes import MAX_ELEMENTS, Numbers

MAX_MACS = 2**41  # of all products together; a ViT-bigG/14 has 2**40
MAX_AXES = 4  # of an Einsum's result; attention needs 4
MAX_RANK = 8  # numbers of a computed shape,
LARGEST = 2**63  # each below that

Shape = tuple[int, ...]

_SAME = """
    Abs Cast Ceil Clip Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu
    LayerNormalization Log LogSoftmax Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Softmax
    Softplus Sqrt Tanh
"""
_BROADCAST = "Add And Div Equal Greater Less Max Min Mod Mul Or Pow Sub Sum Where Xor"
SAME = frozenset(_SAME.split())  # shape of the first input
MOVED = frozenset(["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"])  # as many elements
BROADCAST = frozenset(_BROADCAST.split())
ARITHMETIC: Mapping[str, Callable[[Sequence[int]], int]]
ARITHMETIC = {"Add": sum, "Mul": math.prod, "Max": max, "Min": min}


class Node(NamedTuple):
    """An operator of a graph."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]  # at least one
    equation: str = ""  # of an Einsum


@dataclass
class _Bounds:
    shapes: dict[str, Shape]
    values: dict[str, Sequence[int]]  # small tensors of whole numbers, flat
    counts: dict[str, int] = field(default_factory=dict)  # elements, where no shape is known
    macs: int = 0

    def count(self, name: str) -> int:
        shape = self.shapes.get(name)
        return self.counts.get(name, 1) if shape is None else math.prod(shape)


def problems(
    nodes: Sequence[Node], shapes: Mapping[str, Shape], constants: Mapping[str, Sequence[Numbers]]
) -> Iterator[str]:
    """What is too large in a graph.

    Args:
        nodes: in the order of their execution, as ONNX has them.
        shapes: of inputs and stored tensors, open dimensions as 1.
        constants: the small stored tensors, flat.
    """
    values = {
        name: [int(value) for value in rows[0]]
        for name, rows in constants.items()
        if len(rows) == 1 and all(map(math.isfinite, rows[0]))
    }
    known = _Bounds(dict(shapes), dict(values))
    for node in nodes:
        _step(node, known)
        out = node.outputs[0]
        if node.op == "Einsum" and len(node.equation.partition("->")[2].strip()) > MAX_AXES:
            yield f"Einsum of {node.equation[:40]}"
        if known.count(out) > MAX_ELEMENTS:
            yield f"{node.op} of {known.count(out):.3g} values"
            return
        if known.macs > MAX_MACS:
            yield f"products of {known.macs:.3g} multiplications"
            return


def _step(node: Node, known: _Bounds) -> None:
    """Adds what is known of a node's first result."""
    op, out = node.op, node.outputs[0]
    inputs = [name for name in node.inputs if name]
    values = _values(op, inputs, known)
    is_shape = values is not None and len(values) <= MAX_RANK
    if values is not None and is_shape and all(abs(value) < LARGEST for value in values):
        known.values[out] = values
    if op == "Concat":
        known.counts[out] = sum(map(known.count, inputs))
    elif op in MOVED and inputs:
        known.counts[out] = known.count(inputs[0])
    elif shape := _shape(op, inputs, known):
        known.shapes[out] = shape
    elif op in SAME or op in BROADCAST or op in ("Expand", "Tile"):
        known.counts[out] = max(map(known.count, inputs), default=1)


def _shape(op: str, inputs: Sequence[str], known: _Bounds) -> Shape | None:
    """The shape of a result; None if it is not settled."""
    shapes = [known.shapes.get(name) for name in inputs]
    asked = known.values.get(inputs[-1]) if inputs else None
    if op == "ConstantOfShape" and asked is not None:
        return _sizes(asked)
    if op == "Expand" and asked is not None:
        return _broadcast([shapes[0] or (), _sizes(asked)])
    first = shapes[0] if shapes else None
    if op == "Tile" and asked is not None and first is not None and len(first) == len(asked):
        return tuple(size * times for size, times in zip(first, _sizes(asked), strict=True))
    if op in SAME:
        return first
    settled = [shape for shape in shapes if shape is not None]
    if not settled or len(settled) < len(shapes):
        return None
    if op in BROADCAST:
        return _broadcast(settled)
    if op == "MatMul" and len(settled) == 2 and min(map(len, settled)) >= 2:
        left, right = settled
        out = (*(_broadcast([left[:-2], right[:-2]]) or ()), left[-2], right[-1])
        known.macs += math.prod(out) * left[-1]
        return out
    return None


def _values(op: str, inputs: Sequence[str], known: _Bounds) -> Sequence[int] | None:
    """The numbers in a small result, for shapes that a graph computes; None if not settled."""
    if op == "Shape" and inputs:
        return known.shapes.get(inputs[0])
    rows = [known.values.get(name) for name in inputs]
    settled = [row for row in rows if row is not None]
    if not settled or len(settled) < len(rows) and op not in ("Squeeze", "Unsqueeze", "Cast"):
        return None
    if op in ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"):
        return rows[0]
    if op == "Concat":
        return [value for row in settled for value in row]
    if op == "Gather" and len(settled) == 2:
        row, at = settled
        return [row[i] for i in at if -len(row) <= i < len(row)]
    if op in ARITHMETIC:
        longest = max(map(len, settled))
        if all(len(row) in (1, longest) for row in settled):
            wide = [list(row) * (longest // max(len(row), 1)) for row in settled]
            return [ARITHMETIC[op](column) for column in zip(*wide, strict=True)]
    return None


def _sizes(values: Sequence[int]) -> Shape:
    return tuple(max(value, 0) for value in values)


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    full = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(max(sizes) for sizes in zip(*full, strict=True))
