"""A bundle in a zip file: unpacked beside nothing else, and only what its manifest lists."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.errors import BundleError
from runtime.files.manifest import MANIFEST, check_manifest
from runtime.files.regular import COPY_AGAIN
from runtime.files.strict_json import MAX_JSON_BYTES, parse_json

SUFFIX = ".zip"
MAX_RATIO = 100  # of a file's size to its packed one; weights pack to half, JSON to a tenth
# what zipfile and zlib raise for a damaged archive
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, RuntimeError)
FREE_BYTES = 2**20  # of a file that may be packed better than that


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """``path`` itself, or the bundle in a zip file as a folder that is removed afterwards.

    Only files that the manifest lists are written, each as long as it says there: no name leaves
    the folder, and no small archive fills the disk. Hashes are ``open_bundle``'s to compare.

    Raises: BundleError: a zip file that holds no bundle, or is damaged or unsafe.
    """
    if path.suffix.lower() != SUFFIX or not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="clip2edge-") as scratch:
        folder = Path(scratch) / path.stem
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, path, folder)
        except DAMAGED as bad:
            got = str(bad)[:200]
            raise BundleError(f"{path} cannot be read", got=got, remedy=COPY_AGAIN) from bad
        yield folder


def _unpack(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    members = {entry.filename: entry for entry in archive.infolist()}
    roots = [name.removesuffix(MANIFEST) for name in members if _is_manifest(name)]
    if len(roots) != 1 or len(members) < len(archive.infolist()):
        got = f"{len(roots)} files called {MANIFEST}"
        raise BundleError(f"{path} is not a zipped bundle", got=got, remedy="zip one bundle folder")
    root = roots[0]
    text = _read(archive, members[root + MANIFEST], MAX_JSON_BYTES)
    manifest = check_manifest(parse_json(text, path / MANIFEST), path)
    for name, want in manifest["files"].items():
        if root + name in members:
            _write(archive, members[root + name], folder / name, want)
    (folder / MANIFEST).write_bytes(text)


def _is_manifest(name: str) -> bool:
    """In the archive itself, or in the one folder that a file manager packs."""
    return name.rpartition("/")[2] == MANIFEST and name.count("/") <= 1


def _check(entry: zipfile.ZipInfo, most: int) -> None:
    if entry.header_offset < 0:
        raise ValueError(f"{entry.filename[:160]!r} starts before the archive does")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{entry.filename[:160]!r} is packed by method {entry.compress_type}")
    is_bomb = entry.file_size > max(MAX_RATIO * entry.compress_size, FREE_BYTES)
    if entry.file_size > most or is_bomb:
        got = f"{entry.compress_size:,} bytes packed"
        raise ValueError(f"{entry.filename[:160]!r} claims {entry.file_size:,} bytes, {got}")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    _check(entry, most)
    with archive.open(entry) as stream:  # no more than the entry claims comes out of it
        return stream.read(most)


def _write(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path, want: Mapping[str, Any]
) -> None:
    _check(entry, want["bytes"])
    file.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as stream, file.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
