"""Reads what must be known about an ONNX file before an engine may open it, without the onnx package.

An ONNX file is a protobuf message; a model may point to other files (external tensors, compiled engine contexts) and so
make an engine read what no manifest lists. This walks the wire format (protobuf.dev/programming-guides/encoding) and
skips all payloads, in milliseconds. Field numbers are those of onnx.proto3, frozen by its compatibility rules.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import BundleError

SAFE_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
UNSAFE_OPS = frozenset({"EPContext", "PyOp", "PythonOp"})  # load another file, or run code
MAX_METADATA_BYTES = 16 * 2**20
MAX_DEPTH = 16  # of graphs inside attributes (If, Loop)

# message -> {field number: message inside}; what is not named here is skipped unread.
SCHEMA: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "Opset", 14: "Entry", 25: "Function"},
    "Function": {7: "Node"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
OP_TYPE, DOMAIN, LOCATION, EXTERNAL = 4, 7, 14, 1  # Node.op_type, Node.domain, Tensor.data_location and its value


@dataclass
class OnnxFacts:
    """What a model file says about itself."""

    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    ops: Counter[str] = field(default_factory=Counter)
    domains: set[str] = field(default_factory=set)
    external_tensors: int = 0


def inspect(path: Path) -> OnnxFacts:
    """Facts about the model in ``path``.

    Raises:
        BundleError: not an ONNX file, or damaged.
    """
    facts = OnnxFacts()
    try:
        with open(path, "rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # closed when the last view of it goes
        _walk(memoryview(mapped), "Model", facts, 0)
    except OSError as error:
        raise BundleError(f"cannot read {path}", got=error.strerror or error) from error
    except (ValueError, IndexError) as error:  # an empty file cannot be mapped; a broken varint runs off the end
        raise BundleError(f"{path} is not an ONNX model", got=error, remedy="copy the bundle again") from error
    if not facts.ops or not facts.opsets:
        raise BundleError(f"{path} is not an ONNX model", got="no graph", remedy="copy the bundle again")
    return facts


def check(path: Path) -> OnnxFacts:
    """``inspect`` that refuses whatever reaches outside the file.

    Raises:
        BundleError: external tensor data, an operator that loads files, or an unknown operator domain.
    """
    facts = inspect(path)
    if facts.external_tensors:
        raise BundleError(
            f"{path} keeps weights in another file",
            got=f"{facts.external_tensors} external tensors",
            expected="all weights inside",
            remedy="export with external_data=False",
        )
    unsafe = sorted(UNSAFE_OPS & set(facts.ops)) + sorted(facts.domains - SAFE_DOMAINS)
    if unsafe:
        found = ", ".join(unsafe)
        raise BundleError(f"{path} asks for code outside the engine", got=found, expected="standard operators")
    return facts


def _walk(view: memoryview, message: str, facts: OnnxFacts, depth: int) -> None:
    if depth > 4 * MAX_DEPTH:
        raise ValueError("nested too deeply")
    inside = SCHEMA.get(message, {})
    for number, value in _fields(view):
        if number in inside and isinstance(value, memoryview):
            name = inside[number]
            handler = _LEAVES.get(name)
            if handler is not None:
                handler(value, facts)
            else:
                _walk(value, name, facts, depth + 1)
        elif message == "Model" and number == 1 and isinstance(value, int):
            facts.ir_version = value
        elif message == "Node" and number == OP_TYPE:
            facts.ops[_text(value)] += 1
        elif message == "Node" and number == DOMAIN:
            facts.domains.add(_text(value))


def _tensor(view: memoryview, facts: OnnxFacts) -> None:
    if any(number == LOCATION and value == EXTERNAL for number, value in _fields(view)):
        facts.external_tensors += 1


def _opset(view: memoryview, facts: OnnxFacts) -> None:
    values = dict(_fields(view))
    version = values.get(2, 0)
    facts.opsets[_text(values.get(1, b""))] = version if isinstance(version, int) else 0


def _entry(view: memoryview, facts: OnnxFacts) -> None:
    if len(view) > MAX_METADATA_BYTES:
        raise ValueError(f"metadata of {len(view):,} bytes")
    values = dict(_fields(view))
    facts.metadata[_text(values.get(1, b""))] = _text(values.get(2, b""))


_LEAVES = {"Tensor": _tensor, "Opset": _opset, "Entry": _entry}


def _text(value: memoryview | bytes | int) -> str:
    if isinstance(value, int):
        raise ValueError("a number where text belongs")
    return str(bytes(value), "utf-8")


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field numbers and values of one message; fixed-width numbers are skipped."""
    at, end = 0, len(view)
    while at < end:
        key, at = _varint(view, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(view, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(view, at)
            if size > end - at:
                raise ValueError("truncated")
            yield number, view[at : at + size]
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
    if at > end:
        raise ValueError("truncated")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("number too long")
