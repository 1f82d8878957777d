"""A folder of images packed as .zip or .tar: unpacked once, beside the named datasets.

    <root>/unpacked/<digest of the archive>/        its files, as they would lie in a folder
    <root>/unpacked/<digest of the archive>.json    their sizes; written last

Nothing leaves the folder, links and devices are left out, and an archive that grows beyond all
measure is refused while it is unpacked. The fingerprint of the images is that of the same folder.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from compress.data.class_names import one_form, printable
from compress.data.walk import digest_of_file
from compress.engine.disk import require_space
from compress.engine.errors import DataError
from compress.engine.locks import lock
from compress.engine.system_errors import system_errors
from runtime.files.atomic import atomic
from runtime.files.paths import line

UNPACKED = "unpacked"
KINDS = ".zip, .tar, .tar.gz, .tar.bz2, .tar.xz"
MOST_FILES = 2_000_000
MOST_BYTES = 1 << 40
FREE_BYTES = 1 << 30  # unpacked without a look at the ratio
RATIO = 100  # unpacked : packed; photos are packed already, drawings shrink to a tenth
CHUNK = 1 << 20
LITTER = frozenset(("__macosx", ".ds_store", "thumbs.db", "desktop.ini"))
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, NotImplementedError)
NO_NAME = frozenset(  # a name is too long, odd, or that of a file and a folder
    (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
)
UTF8_FLAG = 0x800  # of a zip entry: its name is UTF-8


@dataclass(frozen=True)
class Member:
    """A regular file of an archive."""

    name: str
    size: int  # as the archive says
    content: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that is read here, by its content."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except (OSError, *DAMAGED):
        return False


def unpack(archive: Path, root: Path) -> Path:
    """The folder with an archive's files, unpacked if it is not there yet.

    Raises:
        DataError: a damaged or encrypted archive, names that lead out of it, or far too much in it.
        StoreError: the disk is full.
    """
    place = root / UNPACKED
    with system_errors(place):
        digest = digest_of_file(archive).hex()[:32]
        folder = place / digest
        record = place / f"{digest}.json"
        if _is_whole(folder, record):
            return folder
        place.mkdir(parents=True, exist_ok=True)
        with lock(place / f"{digest}.lock", f"unpacking {archive.name}"):
            if not _is_whole(folder, record):
                record.unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                sizes = _Unpacking(archive, folder).run()
                with atomic(record) as temporary:  # ASCII: names need not be UTF-8
                    temporary.write_text(json.dumps(sizes), encoding="ascii")
    return folder


def _is_whole(folder: Path, record: Path) -> bool:
    """Whether everything that was unpacked is still there."""
    try:
        sizes = json.loads(record.read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


@dataclass
class _Unpacking:
    archive: Path
    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def run(self) -> dict[str, int]:
        """Writes every file; name -> bytes."""
        packed = self.archive.stat().st_size
        self.limit = min(MOST_BYTES, max(FREE_BYTES, RATIO * packed))
        try:
            with _members(self.archive) as members:
                for member in members:
                    self._write(member)
        except OSError as error:
            if error.errno is None:  # gzip and lzma say so of damaged data
                raise self._damaged(error) from error
            raise
        except (RuntimeError, *DAMAGED) as error:  # RuntimeError: a password is needed
            raise self._damaged(error) from error
        if not self.sizes:
            raise DataError(f"{self.archive} is an archive without files", expected="images")
        return self.sizes

    def _write(self, member: Member) -> None:
        parts = self._parts(member.name)
        if not parts or any(part.casefold() in LITTER for part in parts):
            return
        name = "/".join(parts)
        if name in self.sizes:
            raise self._refused("holds two files of one name", name)
        if len(self.sizes) >= MOST_FILES or self.total + member.size > self.limit:
            raise self._too_much()
        require_space(self.folder, member.size)
        target = self.folder.joinpath(*parts)
        size = 0
        with self._opened(target, name) as file:
            while chunk := member.content.read(CHUNK):
                size += len(chunk)
                if self.total + size > self.limit:
                    raise self._too_much()
                file.write(chunk)
        self.total += size
        self.sizes[name] = size

    def _opened(self, target: Path, name: str) -> IO[bytes]:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return target.open("xb")
        except OSError as error:
            if error.errno in NO_NAME:
                raise self._refused("holds a file that no folder takes", name) from error
            raise

    def _parts(self, name: str) -> list[str]:
        """The folders and the file name of a member; DataError if they lead elsewhere."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
            raise self._refused("holds a file that leads out of it", name)
        if "\0" in name or len(path.parts) > 64:
            raise self._refused("holds a file that no folder takes", name)
        return [part for part in path.parts if part != "."]

    def _too_much(self) -> DataError:
        got = f"more than {self.limit:,} bytes, or {MOST_FILES:,} files"
        return DataError(
            f"{self.archive} holds far more than its size says",
            got=got,
            expected=f"at most {RATIO} times its size",
            remedy="if you trust it, unpack it yourself and give the folder",
        )

    def _refused(self, what: str, name: str) -> DataError:
        remedy = "pack the folder again, e.g. with `zip -r photos.zip photos`"
        return DataError(f"{self.archive} {what}", got=line(repr(name)), remedy=remedy)

    def _damaged(self, error: Exception) -> DataError:
        if "password" in str(error) or "encrypted" in str(error):
            what = f"{self.archive} needs a password"
            return DataError(what, remedy="unpack it, and give the folder")
        remedy = "download or pack it again"
        return DataError(f"{self.archive} is damaged", got=str(error) or repr(error), remedy=remedy)


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    """The regular files of an archive in its order, each open while it is its turn."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _of_zip(opened)
    else:
        with tarfile.open(archive, "r:*") as tar:
            yield _of_tar(tar)


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = info.external_attr >> 28  # of Unix: 8 is a regular file, 10 a link, 0 unknown
        if info.is_dir() or kind not in (0, 8):
            continue
        with archive.open(info) as content:
            yield Member(_zip_name(info), info.file_size, content)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A name; macOS writes UTF-8 without saying so, which reads as code page 437."""
    if not info.flag_bits & UTF8_FLAG:
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename


def _of_tar(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        content = archive.extractfile(info) if info.isreg() else None
        if content is not None:
            with content:
                yield Member(info.name, info.size, content)


def shown_name(path: Path) -> str:
    """The name of an archive without its endings: ``photos.tar.gz`` -> ``photos``."""
    return one_form(printable(re.sub(r"(?i)(\.tar)?\.[a-z0-9]{2,4}$", "", path.name)) or path.name)
