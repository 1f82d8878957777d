"""PNG files with texts that Pillow refuses: read without them."""

from __future__ import annotations

import struct
from typing import IO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"zTXt", b"iTXt", b"tEXt")  # comments, prompts, edit histories; never pixels
LARGEST = 1 << 16  # bytes of a text that is kept, e.g. XMP with an orientation
COMPRESSED = b"zTXt"
MAX_BYTES = 1 << 29  # of a file that is read again


def without_texts(stream: IO[bytes]) -> bytes | None:
    """A PNG file without its large and compressed texts; None if it is no PNG or has none.

    Chunks are copied as they are: length, type, content, checksum (PNG, section 5.3).
    """
    stream.seek(0)
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        return None
    data = SIGNATURE + stream.read(MAX_BYTES)
    kept = [SIGNATURE]
    dropped = False
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if kind in TEXTS and (length > LARGEST or _is_compressed(kind, data[start + 8 : end - 4])):
            dropped = True
        else:
            kept.append(data[start:end])
        start = end
    return b"".join([*kept, data[start:]]) if dropped else None


def _is_compressed(kind: bytes, content: bytes) -> bool:
    """Whether a text unpacks to more than its chunk holds; iTXt: keyword, 0, flag."""
    keyword, _, rest = content.partition(b"\0")
    return kind == COMPRESSED or (kind == b"iTXt" and rest[:1] == b"\1")
