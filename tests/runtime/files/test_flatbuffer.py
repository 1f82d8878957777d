"""The reader of flatbuffers against the library that writes them, and against bytes that lie."""

from __future__ import annotations

import struct

import flatbuffers
import pytest

from runtime.files import flatbuffer
from runtime.files.flatbuffer import Source, root


def written() -> bytes:
    """{0: "text", 2: -7 (int32), 3: [{0: 1}, {0: 2}]}, field 1 is left out."""
    to = flatbuffers.Builder(0)
    inner = []
    for value in (1, 2):
        to.StartObject(1)
        to.PrependUint8Slot(0, value, 0)
        inner.append(to.EndObject())
    to.StartVector(4, 2, 4)
    for one in reversed(inner):
        to.PrependUOffsetTRelative(one)
    vector = to.EndVector()
    text = to.CreateString("text")
    to.StartObject(4)
    to.PrependUOffsetTRelativeSlot(0, text, 0)
    to.PrependInt32Slot(2, -7, 0)
    to.PrependUOffsetTRelativeSlot(3, vector, 0)
    to.Finish(to.EndObject())
    return bytes(to.Output())


def test_it_reads_what_the_library_writes() -> None:
    table = root(Source(written()))
    assert (table.text(0), table.number(2, "i")) == ("text", -7)
    assert [one.number(0, "B") for one in table.tables(3)] == [1, 2]
    assert table.vector(3)[1] == 2
    for absent in (1, 9):
        assert table.place(absent) is None and table.table(absent) is None
        assert (table.number(absent, "i"), table.text(absent), list(table.tables(absent))) == (
            (0, "", [])
        )


@pytest.mark.parametrize("data", [b"", b"\1\0\0\0", struct.pack("<I", 2**31) + bytes(8)])
def test_an_offset_out_of_the_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="an offset to byte"):
        root(Source(data)).number(0, "I")


def test_a_vector_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatbuffer, "MOST_READS", 20)
    source = Source(written())
    with pytest.raises(ValueError, match="more than 20 numbers"):
        for _ in range(9):
            list(root(source).tables(3))
