"""A model file with further classes: rows on its features whose scores join its logits.

The classes go into the graph, so that whoever reads the file gets them: our runtime, the apps,
Triton, TensorRT, Hugging Face's loaders. Nothing is computed again and no weight changes::

    features (B, D) -> Gemm -> (B, N) -\\
    logits of before (B, K) ----------- Concat -> logits (B, K + N)

The file is edited as bytes (``runtime.files.protobuf``): a device has no onnx
package, and a trunk of any size stays as it is. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime.bundle import FEATURES
from runtime.classifier import LOGITS
from runtime.errors import BundleError
from runtime.files.onnx import check
from runtime.files.protobuf import fields, message, number, spans
from runtime.files.regular import COPY_AGAIN

FLOAT = 1  # TensorProto.DataType
INT = 2  # AttributeProto.AttributeType
GRAPH = 7  # fields of ModelProto
METADATA = 14
NODE = 1  # of GraphProto
INITIALIZER = 5
OUTPUT = 12
VALUE_INFO = 13
NODE_INPUT = 1  # of NodeProto
NODE_OUTPUT = 2
KEY = 1  # of StringStringEntryProto
VALUE = 2


class Field(NamedTuple):
    """A field of a message: its number, all its bytes, and of a nested one those inside."""

    number: int
    whole: bytes
    inside: bytes | None


def can_widen(file: Path) -> bool:
    """Whether a model has float32 logits (B, K) and features (B, D).

    Raises: BundleError: no ONNX file, or an unsafe one.
    """
    with _sound(file) as data:
        outputs = _outputs(_graph(data, file))
        return all(_is_table(outputs.get(name)) for name in (LOGITS, FEATURES))


def widen(
    file: Path, target: Path, rows: np.ndarray, offsets: np.ndarray, metadata: Mapping[str, str]
) -> None:
    """Writes a copy of a model that has further classes.

    Args:
        rows: float32 (N, D), what the features are multiplied with; offsets: (N,).
        metadata: entries that are replaced where the file has them.

    Raises: BundleError: a file for which ``can_widen`` is False, or rows of another width.
    """
    with _sound(file) as data:
        target.write_bytes(_wider(data, file, rows, offsets, metadata))


@contextmanager
def _sound(file: Path) -> Iterator[bytes]:
    """The bytes of a model; what is wrong with them inside becomes a BundleError."""
    check(file)
    try:
        yield file.read_bytes()
    except (IndexError, KeyError, ValueError) as error:  # of fields that ``check`` does not walk
        raise BundleError(f"{file} is not an ONNX model", got=error, remedy=COPY_AGAIN) from error


def _wider(
    data: bytes, file: Path, rows: np.ndarray, offsets: np.ndarray, metadata: Mapping[str, str]
) -> bytes:
    outputs = _outputs(_graph(data, file))
    for name in (LOGITS, FEATURES):
        if not _is_table(outputs.get(name)):
            what = f"{file} has no float32 output {name!r} of two dimensions"
            raise BundleError(what, got=f"outputs {', '.join(outputs)}", remedy=_REBUILD)
    width = _width(outputs[FEATURES])
    if width is not None and width != rows.shape[1]:
        got, expected = f"rows of {rows.shape[1]}", f"rows of {width}"
        raise BundleError(f"new classes do not fit {file}", got=got, expected=expected)
    out = []
    for field in _fields(data):
        if field.number == GRAPH and field.inside is not None:
            out.append(message(GRAPH, _widened(field.inside, rows, offsets)))
        elif field.number == METADATA and field.inside is not None:
            out.append(message(METADATA, _entry(field.inside, metadata)))
        else:
            out.append(field.whole)
    return b"".join(out)


_REBUILD = "compress build makes files that have logits and features"


def _widened(graph: bytes, rows: np.ndarray, offsets: np.ndarray) -> bytes:
    outputs = _outputs(graph)
    before = _width(outputs[LOGITS])
    # No two names meet: every step has more classes than the one before.
    mark = f"{LOGITS}.{before if before is not None else 'before'}"
    while mark.encode() in graph:
        mark += "+"
    out = []
    for field in _fields(graph):
        if field.inside is None or field.number not in (NODE, OUTPUT, VALUE_INFO):
            out.append(field.whole)
        elif field.number == NODE:
            out.append(message(NODE, _renamed(field.inside, mark)))
        elif _name(field.inside) == LOGITS:
            if field.number == OUTPUT and before is not None:
                wider = _table(LOGITS, field.inside, before + len(rows))
                out.append(message(OUTPUT, wider))
            elif field.number == OUTPUT:
                out.append(field.whole)
        else:
            out.append(field.whole)
    weight, bias, added = (f"{mark}.added{part}" for part in ("/weight", "/bias", ""))
    gemm = _node("Gemm", added, (FEATURES, weight, bias), added, {"transB": 1})
    concat = _node("Concat", f"{mark}.all", (mark, added), LOGITS, {"axis": 1})
    out += [message(NODE, gemm), message(NODE, concat)]
    out += [
        message(INITIALIZER, _tensor(weight, rows)),
        message(INITIALIZER, _tensor(bias, offsets)),
    ]
    return b"".join(out)


def _renamed(node: bytes, mark: str) -> bytes:
    """A node whose tensor "logits" is called ``mark``."""
    out = []
    for field in _fields(node):
        is_logits = field.number in (NODE_INPUT, NODE_OUTPUT) and field.inside == LOGITS.encode()
        out.append(message(field.number, mark.encode()) if is_logits else field.whole)
    return b"".join(out)


def _entry(entry: bytes, metadata: Mapping[str, str]) -> bytes:
    """A metadata entry, with its new value if there is one."""
    fields = {field.number: field.inside for field in _fields(entry)}
    key = (fields.get(KEY) or b"").decode()
    if key not in metadata:
        return entry
    return message(KEY, key.encode()) + message(VALUE, metadata[key].encode())


def _graph(data: bytes, file: Path) -> bytes:
    found = [field.inside for field in _fields(data) if field.number == GRAPH]
    if len(found) != 1 or found[0] is None:
        raise BundleError(f"{file} is not one ONNX graph", got=f"{len(found)} graphs")
    return found[0]


def _outputs(graph: bytes) -> dict[str, bytes]:
    """Name -> ValueInfoProto of the graph's outputs."""
    infos = (field.inside for field in _fields(graph) if field.number == OUTPUT)
    return {_name(info): info for info in infos if info is not None}


def _name(info: bytes) -> str:
    return next((f.inside or b"" for f in _fields(info) if f.number == 1), b"").decode()


def _tensor_type(info: bytes) -> bytes:
    """ValueInfoProto.type 2 -> TypeProto.tensor_type 1."""
    for place in (2, 1):
        info = next((f.inside or b"" for f in _fields(info) if f.number == place), b"")
    return info


def _dimensions(info: bytes) -> list[bytes]:
    """TypeProto.Tensor.shape 2 -> dim 1."""
    kind = _tensor_type(info)
    shape = next((f.inside or b"" for f in _fields(kind) if f.number == 2), b"")
    return [f.inside or b"" for f in _fields(shape) if f.number == 1]


def _width(info: bytes) -> int | None:
    """The second dimension of an output, None where the graph leaves it open."""
    sizes = (value for key, value in fields(memoryview(_dimensions(info)[1])) if key == 1)
    return next((size for size in sizes if isinstance(size, int)), None)


def _is_table(info: bytes | None) -> bool:
    if info is None:
        return False
    kinds = [value for key, value in fields(memoryview(_tensor_type(info))) if key == 1]
    is_float = kinds[:1] == [FLOAT]
    return is_float and len(_dimensions(info)) == 2


def _table(name: str, like: bytes, width: int) -> bytes:
    """ValueInfoProto of a float32 (B, ``width``), B as in ``like``."""
    shape = message(1, _dimensions(like)[0]) + message(1, number(1, width))
    kind = message(1, number(1, FLOAT) + message(2, shape))
    return message(1, name.encode()) + message(2, kind)


def _node(
    op: str, name: str, inputs: tuple[str, ...], output: str, attributes: Mapping[str, int]
) -> bytes:
    parts = [message(NODE_INPUT, one.encode()) for one in inputs]
    parts += [message(NODE_OUTPUT, output.encode()), message(3, name.encode())]
    parts.append(message(4, op.encode()))
    for key, value in attributes.items():
        about = message(1, key.encode()) + number(3, value) + number(20, INT)
        parts.append(message(5, about))
    return b"".join(parts)


def _tensor(name: str, values: np.ndarray) -> bytes:
    """TensorProto of float32 values."""
    sizes = b"".join(number(1, size) for size in values.shape)
    raw = np.ascontiguousarray(values, "<f4").tobytes()
    return sizes + number(2, FLOAT) + message(8, name.encode()) + message(9, raw)


def _fields(data: bytes) -> Iterator[Field]:
    """The fields of a message."""
    view = memoryview(data)
    for key, value, start, end in spans(view):
        inside = bytes(value) if isinstance(value, memoryview) else None
        yield Field(key, data[start:end], inside)
