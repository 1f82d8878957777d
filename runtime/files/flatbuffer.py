"""Reads flatbuffers of unknown origin: tables by the places of their fields, within bounds."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

MOST_READS = 2_000_000  # numbers: tables that share their vectors could be walked for ever


class Source:
    """Bytes, and how many numbers may still be read of them."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data = data
        self._left = MOST_READS

    def number(self, at: int, kind: str) -> int:
        """The number of a ``struct`` kind at a byte.

        Raises: ValueError: outside the bytes, or after too many others.
        """
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {MOST_READS:,} numbers to read")
        if not 0 <= at <= len(self.data) - struct.calcsize(kind):
            raise ValueError(f"an offset to byte {at} of {len(self.data)}")
        value: int = struct.unpack_from("<" + kind, self.data, at)[0]
        return value


class Table:
    """A table at a byte; a field that is left out is None, 0 or empty.

    Raises: ValueError: of every method, where an offset leads out of the bytes.
    """

    def __init__(self, source: Source, at: int) -> None:
        self.source = source
        self._at = at
        self._fields = at - source.number(at, "i")
        self._size = source.number(self._fields, "H")

    def place(self, field: int) -> int | None:
        """The byte of a field's content."""
        entry = 4 + 2 * field
        offset = self.source.number(self._fields + entry, "H") if entry < self._size else 0
        return self._at + offset if offset else None

    def number(self, field: int, kind: str) -> int:
        """The number in a field."""
        place = self.place(field)
        return 0 if place is None else self.source.number(place, kind)

    def table(self, field: int) -> Table | None:
        """The table in a field."""
        place = self._target(field)
        return None if place is None else Table(self.source, place)

    def vector(self, field: int) -> tuple[int, int]:
        """The first byte of the vector in a field, and its count."""
        place = self._target(field)
        return (0, 0) if place is None else (place + 4, self.source.number(place, "I"))

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of the vector in a field."""
        first, count = self.vector(field)
        for entry in range(first, first + 4 * count, 4):
            yield Table(self.source, entry + self.source.number(entry, "I"))

    def text(self, field: int) -> str:
        """The text in a field, of a long one the first 200 bytes."""
        first, count = self.vector(field)
        return bytes(self.source.data[first : first + min(count, 200)]).decode("utf-8", "replace")

    def _target(self, field: int) -> int | None:
        place = self.place(field)
        return None if place is None else place + self.source.number(place, "I")


def root(source: Source, at: int = 0) -> Table:
    """The root table of the flatbuffer that starts at a byte."""
    return Table(source, at + source.number(at, "I"))
