"""The files below a folder: which are seen, which take part as images, and their fingerprint.

Hidden files, litter and what a build writes into its work folder are not seen.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from compress.data.class_names import printable
from compress.engine.errors import DataError
from compress.engine.runs import RUNS, run_folders
from runtime.files.paths import line
from runtime.preprocess.image_files import LITTER, SMALL_COPIES, is_image

WORK_FOLDERS = frozenset((RUNS, "store", "views", "weights", "datasets"))  # what builds write
SETTLED_NS = 2_000_000_000  # a younger file can change again without another time stamp


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder by name, without hidden files, litter and what builds write.

    Raises:
        DataError: it cannot be read.
    """
    kept = (entry for entry in _seen(folder) if not _is_work_only(entry))
    return sorted(kept, key=lambda entry: entry.name)


def _seen(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, without hidden files and litter; of a work folder, what is not its."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise _unreadable(folder, error) from error
    kept = [entry for entry in shown if entry.name.casefold() not in LITTER]
    if not any(entry.name == RUNS for entry in kept) or not run_folders(folder):
        return kept
    return [entry for entry in kept if entry.name not in WORK_FOLDERS]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; DataError for a link to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        raise _unreadable(Path(entry.path), error) from error


def walk(folder: Path) -> Iterator[Path]:
    """Every visible file below a folder, sorted, through symbolic links.

    Raises:
        DataError: a link that leads back to a folder above it, or a folder that cannot be read.
    """
    open_folders = [(_place(folder), iter(visible(folder)))]
    while open_folders:
        entry = next(open_folders[-1][1], None)
        if entry is None:
            open_folders.pop()
        elif is_folder(entry):
            inner = Path(entry.path)
            place = _place(inner)
            if any(place == above for above, _ in open_folders):
                raise _unreadable(inner, OSError(errno.ELOOP, "a loop of links"))
            open_folders.append((place, iter(visible(inner))))
        elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
            yield Path(entry.path)  # a broken link is skipped later, with its reason


def takes_part(path: Path, base: Path) -> bool:
    """Whether a file below ``base`` is an image, and no small copy of one."""
    folders = path.relative_to(base).parts[:-1]
    return SMALL_COPIES.isdisjoint(map(str.casefold, folders)) and is_image(path)


def key_of(path: Path, base: Path) -> str:
    """The name of an image in a split: its path below ``base``."""
    return printable(path.relative_to(base).as_posix())


def fingerprint_files(base: Path) -> str:
    """SHA-256 over the relative name and content of every image below a folder."""
    paths = [path for path in walk(base) if takes_part(path, base)]
    total = hashlib.sha256()
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, len(paths), 4096):  # a task a file: keeps their number small
            part = paths[start : start + 4096]
            for path, digest in zip(part, threads.map(digest_of_file, part), strict=True):
                total.update(key_of(path, base).encode() + b"\0" + digest)
    return total.hexdigest()


def last_change(base: Path) -> str:
    """The image or folder below ``base`` that changed last, for a message."""
    paths = {place: place.lstat().st_ctime for path in walk(base) for place in (path, path.parent)}
    if not paths:
        return str(base)
    newest = max(paths, key=paths.__getitem__)
    name = "the folder itself" if newest == base else key_of(newest, base)
    return f"{line(name)}, {max(time.time() - paths[newest], 0):.0f} s ago"


def digest_of_file(path: Path) -> bytes:
    """SHA-256 of a file; read again only if its size, time or inode is another."""
    try:
        stat = path.stat()
        state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED_NS:
            return _read_digest(path)
        return _known_digest(path, state)
    except OSError:  # a broken link: skipped later with its reason, another state once it is mended
        return b"unreadable"


@lru_cache(maxsize=2**17)
def _known_digest(path: Path, state: tuple[int, ...]) -> bytes:
    return _read_digest(path)


def _read_digest(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _place(folder: Path) -> tuple[int, int]:
    try:
        stat = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return stat.st_dev, stat.st_ino


def _is_work_only(entry: os.DirEntry[str]) -> bool:
    """Whether it is a work folder with nothing else in it: that is no empty class."""
    is_work = os.path.isdir(os.path.join(entry.path, RUNS)) and bool(run_folders(Path(entry.path)))
    return is_work and not _seen(Path(entry.path))


def _unreadable(folder: Path, error: OSError) -> DataError:
    name = line(folder)
    if error.errno == errno.ELOOP:
        what = f"{name} is part of a loop of symbolic links"
        return DataError(what, remedy="remove the link")
    remedy = "check its permissions" if error.errno == errno.EACCES else None
    return DataError(f"{name} cannot be read", got=error.strerror or error, remedy=remedy)
