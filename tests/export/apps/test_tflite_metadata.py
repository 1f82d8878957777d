"""Metadata in a .tflite file, read back by the schema's own numbers; LiteRT computes the same."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from flatbuffers.number_types import Float32Flags, Uint8Flags, Uint32Flags
from flatbuffers.table import Table
from paths import ROOT
from tiny_bundles import LABELS, SIZE, SPEC

from compress.engine.errors import ExportError
from export.apps.tflite_metadata import with_metadata
from runtime.backends import load

FILES = ROOT / "tests" / "data" / "litert"
NAMES = [row["name"] for row in LABELS]


def made(precision: str) -> bytes:
    model = (FILES / f"tiny.{precision}.tflite").read_bytes()
    return with_metadata(model, "tiny ü", NAMES, SPEC, 1.6)


class Reader:
    """Fields of a flatbuffer's tables by their places."""

    def __init__(self, data: bytes, place: int | None = None) -> None:
        root = struct.unpack_from("<I", data)[0] if place is None else place
        self.data, self.table = data, Table(bytearray(data), root)

    def _at(self, place: int) -> int:
        return self.table.Offset(4 + 2 * place)

    def text(self, place: int) -> str:
        return self.table.String(self.table.Pos + self._at(place)).decode()

    def number(self, place: int, kind: type = Uint8Flags) -> int:
        at = self._at(place)
        return int(self.table.Get(kind, self.table.Pos + at)) if at else 0

    def child(self, place: int) -> Reader:
        return Reader(self.data, self.table.Indirect(self.table.Pos + self._at(place)))

    def all(self, place: int) -> list[Reader]:
        at = self._at(place)
        starts = range(self.table.VectorLen(at)) if at else ()
        first = self.table.Vector(at) if at else 0
        return [Reader(self.data, self.table.Indirect(first + 4 * index)) for index in starts]

    def floats(self, place: int) -> np.ndarray:
        return np.asarray(self.table.GetVectorAsNumpy(Float32Flags, self._at(place)))

    def raw(self, place: int) -> bytes:
        at = self._at(place)
        first = self.table.Vector(at)
        return self.data[first : first + self.table.VectorLen(at)]


def metadata_of(file: bytes) -> bytes:
    """What the buffer holds that the entry TFLITE_METADATA of schema.fbs names."""
    model = Reader(file)
    entries = {row.text(0): row.number(1, Uint32Flags) for row in model.all(6)}
    assert "min_runtime_version" in entries, "what the converter wrote is still there"
    return model.all(4)[entries["TFLITE_METADATA"]].raw(0)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_schema_reads_labels_and_normalization(precision: str) -> None:
    content = metadata_of(made(precision))
    assert content[4:8] == b"M001"
    about = Reader(content)
    assert about.text(0) == "tiny ü" and about.text(7) == "1.0.0"
    (graph,) = about.all(3)
    (image,) = graph.all(2)
    logits, features = graph.all(3)
    assert [one.text(0) for one in (image, logits, features)] == ["image", "logits", "features"]
    assert image.child(3).number(0) == 2 and image.child(3).child(1).number(0) == 1, "RGB image"
    (unit,) = image.all(4)
    assert unit.number(0) == 1, "NormalizationOptions"
    np.testing.assert_allclose(unit.child(1).floats(0), np.multiply(SPEC.mean, 255), rtol=1e-6)
    np.testing.assert_allclose(unit.child(1).floats(1), np.multiply(SPEC.std, 255), rtol=1e-6)
    (labels,) = logits.all(6)
    assert labels.text(0) == "labels.txt" and labels.number(2) == 2, "TENSOR_AXIS_LABELS"
    assert "1.6" in logits.text(1)


def test_the_labels_lie_in_a_zip_behind_the_model_and_the_bytes_repeat() -> None:
    file = made("int8")
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode().splitlines() == NAMES
    assert file == made("int8")
    before = (FILES / "tiny.int8.tflite").read_bytes()
    assert file.index(before) % 16 == 0, "the model itself is untouched, and aligned"


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_litert_computes_the_same(precision: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs pip install 'clip2edge[litert]'")
    (tmp_path / "m.tflite").write_bytes(made(precision))
    images = np.random.default_rng(0).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    names = ("logits", "features")
    got = load("litert", tmp_path / "m.tflite", threads=1).run_all(images, names)
    want = load("litert", FILES / f"tiny.{precision}.tflite", threads=1).run_all(images, names)
    for name in names:
        np.testing.assert_array_equal(got[name], want[name])


def test_litert_s_own_schema_finds_the_buffer() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    file = made("fp32")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    entry = next(row for row in model.metadata if row.name == b"TFLITE_METADATA")
    assert bytes(model.buffers[entry.buffer].data) == metadata_of(file)
    assert model.version == 3 and len(model.subgraphs) == 1 and model.signatureDefs


def test_other_files_are_refused() -> None:
    with pytest.raises(ExportError, match="no LiteRT model"):
        with_metadata(b"\x1c\0\0\0ORTM" + bytes(64), "t", NAMES, SPEC, 1.0)


def test_a_model_with_buffers_behind_it_is_refused() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    file = (FILES / "tiny.fp32.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file, 0))
    model.buffers[1].offset, model.buffers[1].size = 4096, 16
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ExportError, match="more than 2 GB"):
        with_metadata(bytes(builder.Output()), "t", NAMES, SPEC, 1.0)
