"""Metadata inside a .tflite file: labels, normalization, what tensors mean (Netron shows them).

The format is TensorFlow Lite's: metadata_schema.fbs ("M001"), a table that a buffer of the model
holds, and the files that it names in a zip behind the model. The model's own bytes stay as they
are, behind a new root table: the offsets of a flatbuffer are relative and lead forward. Keys of
``{place: value}`` are places of fields in the schemas.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import flatbuffers
import numpy as np
from flatbuffers.number_types import Uint32Flags, Uint64Flags
from flatbuffers.table import Table

from compress.engine.errors import ExportError
from export.bundle.files import LABELS_TEXT
from runtime.files.litert import IDENTIFIER
from runtime.preprocess import PreprocessSpec

NAME = "TFLITE_METADATA"  # by which readers find the buffer
ALIGNMENT = 16  # of a model's buffers
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time of a zip: the same model gives the same bytes
# Model in schema.fbs
VERSION, SUBGRAPHS, BUFFERS, METADATA = 0, 2, 4, 6
REFERENCES = (1, SUBGRAPHS, 3, 5, 7)  # operator codes, description, older metadata, signatures
OUTPUTS = 2  # of a SubGraph
DATA, PLACE = 0, 1  # of a Buffer; PLACE: in the file, of one that lies behind the flatbuffer
# metadata_schema.fbs: values of enumerations and unions
RGB, AXIS_LABELS, IS_FEATURE, IS_IMAGE, IS_NORMALIZATION = 1, 2, 1, 2, 1


def with_metadata(
    model: bytes, title: str, labels: Sequence[str], spec: PreprocessSpec, temperature: float
) -> bytes:
    """A LiteRT model of ours with its metadata; an engine computes the same.

    Raises: ExportError: no LiteRT model, or one with buffers behind its flatbuffer.
    """
    if model[4:8] != IDENTIFIER:
        raise ExportError("no LiteRT model", got=model[4:8], expected=IDENTIFIER)
    root = Table(bytearray(model), struct.unpack_from("<I", model)[0])
    for buffer in _tables(root, BUFFERS):
        place = buffer.Offset(_entry(PLACE))
        if place and buffer.Get(Uint64Flags, buffer.Pos + place) > 1:
            raise ExportError("a LiteRT model of more than 2 GB", expected="one flatbuffer")
    graph = next(_tables(root, SUBGRAPHS))
    outputs = graph.VectorLen(graph.Offset(_entry(OUTPUTS)))
    content = _content(title, spec, temperature, has_features=outputs > 1)
    file = io.BytesIO(_with_buffer(root, content))
    with zipfile.ZipFile(file, "a") as archive:  # behind the model
        text = "".join(f"{label}\n" for label in labels)
        archive.writestr(zipfile.ZipInfo(LABELS_TEXT, EPOCH), text)
    return file.getvalue()


def _content(title: str, spec: PreprocessSpec, temperature: float, has_features: bool) -> bytes:
    """ModelMetadata: one image goes in, logits come out, and maybe features."""
    to = flatbuffers.Builder(1024)
    of_bytes = (np.float32(np.multiply(values, 255.0)) for values in (spec.mean, spec.std))
    options = _table(to, dict(enumerate([to.CreateNumpyVector(values) for values in of_bytes])))
    unit = _table(to, {1: options}, {0: IS_NORMALIZATION})
    says = f"1 x 3 x {spec.size} x {spec.size}, R G B; {spec.interpolation}, the shorter side to "
    says += f"{spec.resize}, central square"
    image = _tensor(to, ("image", says), IS_IMAGE, {4: [unit]})
    file = _table(to, {0: to.CreateString(LABELS_TEXT)}, {2: AXIS_LABELS})
    says = f"divide by {temperature}, then softmax"
    tensors = [_tensor(to, ("logits", says), IS_FEATURE, {6: [file]})]
    if has_features:
        tensors.append(_tensor(to, ("features", "a row of length 1"), IS_FEATURE, {}))
    graph = _table(to, {2: _vector(to, [image]), 3: _vector(to, tensors)})
    fields = {0: to.CreateString(title), 3: _vector(to, [graph]), 7: to.CreateString("1.0.0")}
    to.Finish(_table(to, fields), b"M001")
    return bytes(to.Output())


def _tensor(
    to: flatbuffers.Builder, texts: tuple[str, str], kind: int, vectors: Mapping[int, Sequence[int]]
) -> int:
    """TensorMetadata with its name and description, and further vectors of tables."""
    content = _table(to, {1: _table(to, {}, {0: RGB} if kind == IS_IMAGE else {})}, {0: kind})
    fields = dict(enumerate(to.CreateString(text) for text in texts))
    lists = {place: _vector(to, offsets) for place, offsets in vectors.items()}
    return _table(to, {**fields, 3: content, **lists})


def _with_buffer(root: Table, content: bytes) -> bytes:
    """A model behind a root table that lists one more buffer, and its name."""
    model = bytes(root.Bytes)
    whole = model + bytes(-len(model) % ALIGNMENT)
    to = flatbuffers.Builder(len(whole) + len(content) + 4096)
    to.Prep(ALIGNMENT, 0)  # so that the length of what comes before is a multiple, too
    to.CreateByteVector(whole)

    def old(place: int) -> int:
        return len(whole) - place  # a builder counts from the end

    buffers = [old(table.Pos) for table in _tables(root, BUFFERS)]
    buffers.append(_table(to, {DATA: to.CreateByteVector(content)}))
    entries = [old(table.Pos) for table in _tables(root, METADATA)]
    entries.append(_table(to, {0: to.CreateString(NAME)}, words={1: len(buffers) - 1}))
    fields = {BUFFERS: _vector(to, buffers), METADATA: _vector(to, entries)}
    for field in REFERENCES:
        if at := root.Offset(_entry(field)):
            fields[field] = old(root.Indirect(root.Pos + at))
    version = root.Get(Uint32Flags, root.Pos + root.Offset(_entry(VERSION)))
    to.Finish(_table(to, fields, words={VERSION: version}), IDENTIFIER)
    return bytes(to.Output())


def _entry(field: int) -> int:
    """Where a table's vtable says where a field is."""
    return 4 + 2 * field


def _tables(of: Table, field: int) -> Iterator[Table]:
    """The tables in a vector; none where it is absent."""
    at = of.Offset(_entry(field))
    for index in range(of.VectorLen(at) if at else 0):
        yield Table(of.Bytes, of.Indirect(of.Vector(at) + 4 * index))


def _table(
    to: flatbuffers.Builder,
    offsets: Mapping[int, int],
    bytes_: Mapping[int, int] | None = None,
    words: Mapping[int, int] | None = None,
) -> int:
    to.StartObject(max([-1, *offsets, *(bytes_ or {}), *(words or {})]) + 1)
    for place, offset in offsets.items():
        to.PrependUOffsetTRelativeSlot(place, offset, 0)
    for place, word in (words or {}).items():
        to.PrependUint32Slot(place, word, 0)
    for place, byte in (bytes_ or {}).items():
        to.PrependUint8Slot(place, byte, 0)
    return int(to.EndObject())


def _vector(to: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    to.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        to.PrependUOffsetTRelative(offset)
    return int(to.EndVector())
