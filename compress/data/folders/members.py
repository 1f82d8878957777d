"""What a .zip or a .tar holds, member by member, each with its content while it is its turn.

Stricter than the standard library, which takes a damaged header of a tar for its end: an archive
is read to its end, with its checksums, and anything but an end there is damage. Headers of a
member together take little memory, whatever they ask for.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import posixpath
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

# what the readers raise for a damaged archive, beside the OSErrors of ``is_damage``
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, ValueError, IndexError, OverflowError, NotImplementedError, RuntimeError),
)
COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"]\0\0": lzma.open,  # .tar.lzma
}
MOST_HEADER = 1 << 20  # bytes of all headers of a member of a tar: long names, attributes
MOST_READ = 1 << 20  # bytes of a tar that are read at once
DIGITS = re.compile(rb"\d{99}")  # tarfile's patterns take hours over a header of digits
LONGEST_PATH = 4096
DEFLATED_RATIO = 1032  # the best that deflate can do
ENCRYPTED, SIZES_FOLLOW, UTF8_FLAG = 0x1, 0x8, 0x800  # flags of a zip entry; its name is UTF-8


@dataclass(frozen=True)
class Member:
    """A file, a folder, a link, or something else of an archive.

    Attributes:
        size: of a file, as the archive says.
        target: what a link leads to, as a path in the archive; None if it leads out of it.
    """

    name: str
    kind: Literal["file", "folder", "link", "other"]
    size: int = 0
    content: IO[bytes] | None = None
    target: str | None = None


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that is read here, by its content, be it damaged or not."""
    try:
        return _is_tar(path) or zipfile.is_zipfile(path)
    except OSError as error:
        return is_damage(error)
    except DAMAGED:
        return True


def is_damage(error: OSError) -> bool:
    """Whether it is about what an archive says: bad data, or a place before its start."""
    return error.errno in (None, errno.EINVAL)


@contextmanager
def members_of(archive: Path, limit: int) -> Iterator[Iterator[Member]]:
    """The members of an archive in its order; ``DAMAGED`` or ``is_damage`` where it is damaged.

    Args:
        limit: bytes of a tar, out of its compression, that are read at most.
    """
    if _is_tar(archive):
        with _opened(archive) as file:
            yield _of_tar(_Stream(file, limit))
    else:
        with zipfile.ZipFile(archive) as opened:
            _require_all_entries(archive, opened)
            yield _of_zip(opened)


def damage_of(archive: Path, limit: int) -> Exception | None:
    """What the checksums of a compressed tar say, whose content alone tells little of a cause.

    Args:
        limit: bytes out of its compression that are read at most.
    """
    try:
        with _opened(archive) as file:
            left = limit
            while left > 0 and (block := file.read(min(left, MOST_READ))):
                left -= len(block)
    except OSError as error:
        if not is_damage(error):
            raise
        return error
    except DAMAGED as error:
        return error
    return None


def _opened(path: Path) -> IO[bytes]:
    """The bytes of a file out of its compression."""
    with path.open("rb") as file:
        start = file.read(8)
    for mark, opener in COMPRESSED.items():
        if start.startswith(mark):
            return cast(IO[bytes], opener(path))
    return path.open("rb")


def _is_tar(path: Path) -> bool:
    """Whether the first block is a sound header of a tar, or zeros: an empty tar."""
    with _opened(path) as file:
        block = file.read(tarfile.BLOCKSIZE)
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return len(block) == tarfile.BLOCKSIZE and not any(block)
    return True


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        _require_sound_entry(archive, info)
        with archive.open(info) as content:  # compares its two names, also those of a folder
            yield _member_of_zip(info, content)


def _member_of_zip(info: zipfile.ZipInfo, content: IO[bytes]) -> Member:
    name = _zip_name(info)
    kind = info.external_attr >> 28  # of Unix: 4 is a folder, 8 a file, 10 a link, 0 unknown
    if name.endswith(("/", "\\")) or (kind == 4 and not info.file_size):
        return Member(name, "folder")
    if kind == 10:
        return Member(name, "link", target=_beside(name, _link_of_zip(info, content)))
    if kind in (0, 8) or info.file_size:
        return Member(name, "file", info.file_size, content)
    return Member(name, "other")  # a pipe or a device


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A name; macOS writes UTF-8 without saying so, which reads as code page 437."""
    if not info.flag_bits & UTF8_FLAG:
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename


def _link_of_zip(info: zipfile.ZipInfo, content: IO[bytes]) -> str:
    target = content.read() if info.file_size <= LONGEST_PATH else b"\0"
    if b"\0" in target:
        raise zipfile.BadZipFile(f"{info.filename!r} is a link to no name")
    return target.decode("utf-8", "surrogateescape")


def _require_sound_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises BadZipFile for sizes that cannot be, or that the file's own header contradicts."""
    most = {
        zipfile.ZIP_STORED: info.compress_size,
        zipfile.ZIP_DEFLATED: info.compress_size * DEFLATED_RATIO,
    }.get(info.compress_type, info.file_size)
    file = cast(IO[bytes], archive.fp)
    file.seek(info.header_offset)
    flags, method, packed, size = struct.unpack("<6x2H8x2I", file.read(26))
    unknown = flags & SIZES_FOLLOW or 0xFFFFFFFF in (packed, size)
    if (
        info.file_size > most
        or (info.is_dir() and info.file_size)
        or (flags & ENCRYPTED, method) != (info.flag_bits & ENCRYPTED, info.compress_type)
        or not (unknown or (packed, size) == (info.compress_size, info.file_size))
    ):
        raise zipfile.BadZipFile(f"the headers of {info.filename!r} contradict each other")


def _require_all_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises BadZipFile unless there are as many entries as the end of a zip file says."""
    count = len(archive.infolist())
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 22 - 0xFFFF, 0))
        end = file.read()
    (said,) = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)
    if said not in (count & 0xFFFF, 0xFFFF):  # more entries are counted elsewhere, or wrap around
        raise zipfile.BadZipFile(f"{count:,} of {said:,} files are listed")


class _Stream:
    """The bytes of a tar, read in small parts.

    Attributes:
        left: bytes that the headers of a member may still take; None while its content is read.
    """

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.limit = file, limit
        self.left: int | None = MOST_HEADER
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= (MOST_READ if self.left is None else self.left):
            raise tarfile.ReadError(f"a header asks for {size:,} bytes")
        data = self.file.read(size)
        if self.left is not None:
            self.left -= size
            if DIGITS.search(data):
                raise tarfile.ReadError("a header with an endless number")
        return data

    def seek(self, place: int) -> None:
        if not 0 <= place <= self.limit:
            raise tarfile.ReadError(f"a header leads to byte {place:,}")
        self.file.seek(place)


def _of_tar(stream: _Stream) -> Iterator[Member]:
    archive = tarfile.TarFile(
        fileobj=cast(IO[bytes], stream), encoding="utf-8", errors="surrogateescape"
    )
    before = -1
    while (info := archive.next()) is not None:
        cast(Any, archive).members.clear()  # which keep their headers
        stream.left = None
        _require_onward(archive, info, before)
        before = archive.offset
        if info.isreg():
            with cast(IO[bytes], archive.extractfile(info)) as content:
                yield Member(info.name, "file", info.size, content)
        elif info.isdir() or info.type == b"D":  # of GNU's incremental archives
            yield Member(info.name, "folder")
        elif info.islnk():
            yield Member(info.name, "link", target=info.linkname)
        elif info.issym():
            yield Member(info.name, "link", target=_beside(info.name, info.linkname))
        elif info.type != b"V":  # the name of the volume
            yield Member(info.name, "other")
        stream.left = MOST_HEADER
    stream.left = None
    _require_end(stream, archive.offset)


def _require_onward(archive: tarfile.TarFile, info: tarfile.TarInfo, before: int) -> None:
    """Raises ReadError for a header that leads back, or with parts that do not fit together."""
    kept = sum(len(key) + len(value) for key, value in archive.pax_headers.items())
    if info.size < 0 or archive.offset <= max(before, info.offset) or kept > MOST_HEADER:
        raise tarfile.ReadError(f"an odd header at byte {info.offset:,}")
    if info.sparse is not None:
        end = stored = 0
        for offset, size in cast(list[tuple[int, int]], info.sparse):
            if size == 0:  # an entry without use
                continue
            if size < 0 or offset < end:
                raise tarfile.ReadError(f"an odd map of holes at byte {info.offset:,}")
            end, stored = offset + size, stored + size
        blocks = -(-stored // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if end > info.size or blocks != archive.offset - info.offset_data:
            raise tarfile.ReadError(f"an odd map of holes at byte {info.offset:,}")


def _require_end(stream: _Stream, place: int) -> None:
    """Raises ReadError unless only zeros follow, and some do; a checksum is read with them."""
    stream.seek(place)
    start = place
    while data := stream.read(MOST_READ):
        if any(data):
            raise tarfile.ReadError(f"no header of a file at byte {start:,}")
        place += len(data)
        if place > stream.limit:
            raise tarfile.ReadError(f"{place - start:,} zeros at its end")
    if place == start:
        raise tarfile.ReadError("its end is missing")


def _beside(name: str, target: str) -> str | None:
    """What a symbolic link leads to, as a path in the archive."""
    if target.startswith("/"):
        return None
    return posixpath.join(posixpath.dirname(name.replace("\\", "/")), target)
