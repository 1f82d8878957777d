"""A folder of images packed as .zip or .tar: unpacked once, beside the named datasets.

    <root>/unpacked/<digest of the archive>/        its files, as they would lie in a folder
    <root>/unpacked/<digest of the archive>.json    what it holds; written last

Nothing leaves the folder: links become copies of what they lead to in the archive, other links and
devices are left out. An archive that grows beyond all measure is refused while it is unpacked. The
fingerprint of the images is that of the same folder.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from compress.data.class_names import one_form, printable
from compress.data.folders.members import (
    DAMAGED,
    Member,
    damage_of,
    is_archive,
    is_damage,
    members_of,
)
from compress.data.folders.walk import digest_of_file
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
NO_NAME = frozenset(  # a name is too long, odd, or that of a file and a folder
    (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
)
LINKS = 40  # links to links that are followed

__all__ = ["KINDS", "is_archive", "shown_name", "unpack", "unpacking_notes"]


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
        record = _record(folder)
        if _is_whole(folder, record):
            return folder
        place.mkdir(parents=True, exist_ok=True)
        with lock(place / f"{digest}.lease", f"unpacking {archive.name}"):
            if not _is_whole(folder, record):
                record.unlink(missing_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                held = _Unpacking(archive, folder).run()
                with atomic(record) as temporary:  # ASCII: names need not be UTF-8
                    temporary.write_text(json.dumps(held), encoding="ascii")
    return folder


def unpacking_notes(folder: Path) -> list[str]:
    """What of an archive is not in the folder that ``unpack`` gave, in a line."""
    try:
        count, example = json.loads(_record(folder).read_text(encoding="ascii"))["left_out"]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    if not count:
        return []
    members = "1 member" if count == 1 else f"{count:,} members"
    why = "links to nothing in it, pipes or devices"
    return [line(f"{members} of the archive left out ({why}), e.g. {printable(example)}")]


def _record(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _is_whole(folder: Path, record: Path) -> bool:
    """Whether everything that was unpacked is still there."""
    try:
        held = json.loads(record.read_text(encoding="utf-8"))
        files = all((folder / name).stat().st_size == size for name, size in held["files"].items())
        return files and all((folder / name).is_dir() for name in held["folders"])
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        return False


@dataclass
class _Unpacking:
    archive: Path
    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    links: dict[str, str | None] = field(default_factory=dict)
    total: int = 0
    left_out: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Writes every file and folder; what there is, and what was left out."""
        packed = self.archive.stat().st_size
        self.limit = min(MOST_BYTES, max(FREE_BYTES, RATIO * packed))
        try:
            with members_of(self.archive, self.limit) as members:
                for member in members:
                    self._write(member)
        except OSError as error:
            if is_damage(error):
                raise self._damaged(error) from error
            raise
        except DAMAGED as error:
            raise self._damaged(error) from error
        except DataError as refused:
            if damage := damage_of(self.archive, self.limit):
                raise self._damaged(damage) from refused
            raise
        self._write_links()
        if not self.sizes:
            raise DataError(f"{self.archive} is an archive without files", expected="images")
        left_out = (len(self.left_out), min(self.left_out, default=""))
        return {"files": self.sizes, "folders": sorted(self.folders), "left_out": left_out}

    def _write(self, member: Member) -> None:
        parts = self._parts(member.name)
        if not parts or any(part.casefold() in LITTER for part in parts):
            return
        name = "/".join(parts)
        if name in self.sizes or name in self.links:
            raise self._refused("holds two files of one name", name)
        if len(self.sizes) + len(self.folders) + len(self.links) >= MOST_FILES:
            raise self._too_much()
        if member.kind == "folder":
            self._make(name)
        elif member.kind == "link":
            self.links[name] = member.target
        elif member.content is not None:
            self._write_file(name, member.size, member.content)
        else:
            self.left_out.append(name)

    def _write_file(self, name: str, expected: int, content: IO[bytes]) -> None:
        if self.total + expected > self.limit:
            raise self._too_much()
        require_space(self.folder, expected)
        size = 0
        with self._opened(name) as file:
            while chunk := content.read(CHUNK):
                size += len(chunk)
                if self.total + size > self.limit:
                    raise self._too_much()
                file.write(chunk)
        self.total += size
        self.sizes[name] = size

    def _write_links(self) -> None:
        """Copies what links lead to; those to folders last, the inner ones first."""
        folders = self.folders.union(*map(_above, (*self.sizes, *self.links)))
        waiting = {}
        for name, target in self.links.items():
            place = self._followed(target)
            if place in self.sizes:
                self._copy(place, name)
            elif place in folders:
                waiting[name] = place
            else:
                self.left_out.append(name)
        while waiting:
            unfinished = set().union(*map(_above, waiting))
            ready = [name for name, place in waiting.items() if place not in unfinished]
            if not ready:  # they lead into each other
                break
            for name in ready:
                self._copy_folder(waiting.pop(name), name)
        self.left_out += waiting

    def _followed(self, target: str | None) -> str | None:
        """Where a path in the archive ends, through links; None if it leads out or in a circle."""
        if target is None or target.startswith("/"):
            return None
        ahead, place, followed = target.split("/")[::-1], list[str](), 0
        while ahead:
            part = ahead.pop()
            if part == ".." and not place:
                return None
            if part == "..":
                place.pop()
            elif part not in ("", "."):
                place.append(part)
            name = "/".join(place)
            if part not in ("", ".", "..") and name in self.links:
                further = self.links[name]
                followed += 1
                if further is None or further.startswith("/") or followed > LINKS:
                    return None
                ahead += further.split("/")[::-1]
                place = []
        return "/".join(place)

    def _copy(self, source: str, name: str) -> None:
        if len(self.sizes) + len(self.folders) >= MOST_FILES:
            raise self._too_much()
        with (self.folder / source).open("rb") as content:
            self._write_file(name, self.sizes[source], content)

    def _copy_folder(self, source: str, name: str) -> None:
        self._make(name)
        for inner in [one for one in self.folders if one.startswith(f"{source}/")]:
            self._make(name + inner[len(source) :])
        for inner in [one for one in self.sizes if one.startswith(f"{source}/")]:
            self._copy(inner, name + inner[len(source) :])

    def _make(self, name: str) -> None:
        with self._taken(name):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folders.add(name)

    def _opened(self, name: str) -> IO[bytes]:
        with self._taken(name):
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            return target.open("xb")

    @contextmanager
    def _taken(self, name: str) -> Iterator[None]:
        """DataError for a name that the folder does not take."""
        try:
            yield
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
        if isinstance(error, NotImplementedError):
            what = f"{self.archive} is damaged, or packed in a way that is not read"
            return DataError(what, got=error, remedy="unpack it, and give the folder")
        if "password" in str(error) or "encrypted" in str(error):
            what = f"{self.archive} needs a password"
            return DataError(what, remedy="unpack it, and give the folder")
        remedy = "download or pack it again"
        return DataError(f"{self.archive} is damaged", got=str(error) or repr(error), remedy=remedy)


def _above(name: str) -> set[str]:
    """The folders around a file or folder; "" is the archive itself."""
    parts = name.split("/")
    return {"/".join(parts[:count]) for count in range(len(parts))}


def shown_name(path: Path) -> str:
    """The name of an archive without its endings: ``photos.tar.gz`` -> ``photos``."""
    return one_form(printable(re.sub(r"(?i)(\.tar)?\.[a-z0-9]{2,4}$", "", path.name)) or path.name)
