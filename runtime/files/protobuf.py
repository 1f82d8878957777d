"""Protobuf's wire format: a message taken apart without its schema, and fields put together.

protobuf.dev/programming-guides/encoding. Nothing is copied: values are views of the message.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_TAG = 2**32 - 1  # protobuf's own limit
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types

Value = memoryview | int


def spans(view: memoryview) -> Iterator[tuple[int, Value | None, int, int]]:
    """Number, value, start and end of each field; the value of a fixed-width number is None.

    Raises: ValueError, IndexError: no message, or a truncated one.
    """
    at = 0
    end = len(view)
    while at < end:
        start = at
        key, at = varint(view, at)
        wire = key & 7
        if not 8 <= key <= MAX_TAG:
            raise ValueError(f"field {key >> 3}")
        value: Value | None = None
        if wire == VARINT:
            value, at = varint(view, at)
        elif wire == BYTES:
            size, at = varint(view, at)
            if size > end - at:
                raise ValueError("truncated")
            value = view[at : at + size]
            at += size
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        yield key >> 3, value, start, at
    if at > end:
        raise ValueError("truncated")


def fields(view: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field but fixed-width numbers; errors as ``spans``."""
    return ((field, value) for field, value, _, _ in spans(view) if value is not None)


def varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and where it ends."""
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


def message(field: int, payload: bytes) -> bytes:
    """A field that holds bytes, text or another message."""
    return _encoded(field << 3 | BYTES) + _encoded(len(payload)) + payload


def number(field: int, value: int) -> bytes:
    """A field that holds a whole number, 0 or more."""
    return _encoded(field << 3 | VARINT) + _encoded(value)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
