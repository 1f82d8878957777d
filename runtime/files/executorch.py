"""Checks an ExecuTorch program (.pte, a flatbuffer) before the engine may open it, and reads it.

The layout is ExecuTorch's ``program.fbs``, and for the parts that XNNPACK runs its ``schema.fbs``:
numbers are places of fields there. A classifier is one method without a jump, of operators that
compute, and of parts for XNNPACK; other delegates of ExecuTorch load libraries of their own.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import BundleError
from runtime.files.flatbuffer import Source, Table, root
from runtime.files.manifest import MAX_FILE_BYTES
from runtime.files.regular import COPY_AGAIN, open_regular

SUFFIX = ".pte"
IDENTIFIER = b"ET12"
HEADER = b"eh00"  # at byte 8: a header that says where the segments start
SEGMENTS_START = 24
XNNPACK = "XnnpackBackend"
XNNPACK_HEADER = b"XH00"  # at byte 4 of a part
XNNPACK_GRAPH = 10  # where the part's header says where its graph starts
# What calculates; the portable operators of other families are for language models.
FAMILIES = frozenset({"aten", "dim_order_ops", "quantized_decomposed"})
PLANS, INLINE_PARTS, SEGMENTS = 1, 3, 4  # of Program
CHAINS, OPERATORS, DELEGATES = 5, 6, 7  # of ExecutionPlan
INSTRUCTIONS = 2  # of Chain
KERNEL_CALL, JUMP = 1, 4  # of InstructionArguments
NODES, VALUES = 1, 2  # of XNNGraph
TENSOR, QUANTIZED_TENSOR = 1, 2  # of XValueUnion
# Of XNodeUnion: convolutions and products, each with the place of its first input.
PRODUCTS = {
    2: ("FullyConnected", 0),
    7: ("Conv2d", 15),
    13: ("DepthwiseConv2d", 15),
    37: ("BatchMatrixMultiply", 0),
    39: ("ConvTranspose2d", 15),
}
TYPES = {1: "float32", 2: "float16", 3: "int8", 4: "uint8"}  # of XNNDatatype


def check(path: Path) -> dict[str, int]:
    """What a program runs: operator, of XNNPACK's products with the type of the input -> how often.

    XNNPACK chooses kernels by the types of the tensors and has no others to fall back to.

    Raises: BundleError: no ExecuTorch program, or one that does what no classifier needs.
    """
    try:
        with (
            open_regular(path, MAX_FILE_BYTES) as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            if mapped[4:8] != IDENTIFIER:
                raise ValueError(f"{bytes(mapped[4:8])!r} for {IDENTIFIER!r}")
            program = root(Source(mapped))
            plans = list(program.tables(PLANS))
            if foreign := sorted(set(_foreign(plans))):
                what = f"{path} asks for what no classifier needs"
                got, expected = ", ".join(foreign)[:400], "operators, and parts for XNNPACK"
                raise BundleError(what, got=got, expected=expected)
            return dict(sorted(Counter(_runs(program, plans[0])).items()))
    except (OSError, ValueError) as error:  # ValueError: also an empty file, which has no map
        what = f"{path} is not an ExecuTorch program"
        raise BundleError(what, got=error, remedy=COPY_AGAIN) from error


def _foreign(plans: list[Table]) -> Iterator[str]:
    if len(plans) != 1:
        yield f"{len(plans)} methods"
    for plan in plans:
        for operator in plan.tables(OPERATORS):
            if operator.text(0).partition("::")[0] not in FAMILIES:
                yield f"operator {operator.text(0)}"
        for delegate in plan.tables(DELEGATES):
            if delegate.text(0) != XNNPACK:
                yield f"delegate {delegate.text(0)}"
        for chain in plan.tables(CHAINS):
            if any(step.number(0, "B") == JUMP for step in chain.tables(INSTRUCTIONS)):
                yield "a jump"


def _runs(program: Table, plan: Table) -> Iterator[str]:
    operators = [operator.text(0) for operator in plan.tables(OPERATORS)]
    for chain in plan.tables(CHAINS):
        for step in chain.tables(INSTRUCTIONS):
            call = step.table(1) if step.number(0, "B") == KERNEL_CALL else None
            if call is not None:
                index = call.number(0, "i")
                if not 0 <= index < len(operators):
                    raise ValueError(f"operator {index} of {len(operators)}")
                yield operators[index]
    for delegate in plan.tables(DELEGATES):
        yield from _products(program, delegate)


def _products(program: Table, delegate: Table) -> Iterator[str]:
    """The products of a part for XNNPACK."""
    source = program.source
    start = _start(program, delegate)
    if bytes(source.data[start + 4 : start + 8]) != XNNPACK_HEADER:
        raise ValueError("a part that is none of XNNPACK's")
    graph = root(source, start + source.number(start + XNNPACK_GRAPH, "I"))
    types: dict[int, int] = {}
    for value in graph.tables(VALUES):
        tensor = value.table(1)
        if tensor is not None and value.number(0, "B") == QUANTIZED_TENSOR:
            tensor = tensor.table(0)
        if tensor is not None:
            types[tensor.number(6, "I")] = tensor.number(0, "h")
    for node in graph.tables(NODES):
        product, inside = PRODUCTS.get(node.number(0, "B")), node.table(1)
        if product is not None and inside is not None:
            name, place = product
            yield f"{name} {TYPES.get(types.get(inside.number(place, 'I'), 0), 'unknown')}"


def _start(program: Table, delegate: Table) -> int:
    """The byte at which a delegate's part starts: in the flatbuffer, or in a segment behind it."""
    source = program.source
    reference = delegate.table(1)
    index = 0 if reference is None else reference.number(1, "I")
    is_inline = reference is None or reference.number(0, "b") == 0
    for place, table in enumerate(program.tables(INLINE_PARTS if is_inline else SEGMENTS)):
        if place == index:
            if is_inline:
                return table.vector(0)[0]
            if bytes(source.data[8:12]) != HEADER:
                raise ValueError("segments without a header")
            return source.number(SEGMENTS_START, "Q") + table.number(0, "Q")
    raise ValueError(f"no part {index}")
