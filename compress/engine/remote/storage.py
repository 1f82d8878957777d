"""Object storage by its address (``s3://``, ``gs://``), and the mirror of it on this machine.

Objects appear whole or not at all, so a name that is there is finished. Everything is read and
written in the mirror, an ordinary work folder; what it lacks is fetched, what it makes is uploaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from compress.engine.errors import ConfigError, ExplainedError, MissingExtraError, StoreError
from compress.engine.text import shortened
from runtime.files.atomic import atomic
from runtime.files.home import cache_folder

FIRST = "clip2edge.json"  # says what the folder is, and that it can be written
MARKER = "remote.json"  # in a mirror: where it belongs
EXTRAS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
}


def is_url(text: str) -> bool:
    """Whether a work folder is one in object storage; ``file://`` is a folder."""
    return "://" in text and not text.startswith("file://")


def mirror_of(url: str) -> Path:
    """The mirror of a work folder on this machine; made if it is not there.

    Raises:
        MissingExtraError: the package for this kind of storage is not installed.
        ConfigError: no such kind.
        StoreError: the storage cannot be reached.
    """
    url = url.rstrip("/")
    Remote(url).require()
    folder = cache_folder("work") / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / MARKER) as temporary:
        temporary.write_text(json.dumps({"url": url}) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Remote:
    """Object storage below an address."""

    url: str

    @classmethod
    def of(cls, work: Path) -> Remote | None:
        """What a work folder is a mirror of; None for an ordinary one."""
        try:
            return cls(str(json.loads((work / MARKER).read_text(encoding="utf-8"))["url"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def _place(self) -> tuple[Any, str]:
        import fsspec

        protocol = self.url.partition("://")[0]
        try:
            files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            package = EXTRAS.get(protocol, "the one that its message names")
            got = f"{protocol}://: {error}"
            remedy = f"pip install {package}"
            raise MissingExtraError(
                "this storage needs a package", got=got, remedy=remedy
            ) from error
        except ValueError as error:
            expected = "a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
            raise ConfigError("no such kind of storage", got=self.url, expected=expected) from error
        return files, root

    @property
    def files(self) -> Any:
        """The file system, as fsspec has it."""
        return self._place[0]

    def path(self, *parts: str) -> str:
        """The name of an object."""
        return "/".join((self._place[1], *parts))

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turns what a storage raises into a StoreError; an object that is not there stays one."""
        try:
            yield
        except (ExplainedError, FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # every kind of storage has errors of its own
            raise StoreError(
                "the work folder in object storage cannot be used",
                got=f"{self.url}: {type(error).__name__}: {shortened(error, 200)}",
                remedy="check its address, your credentials and the network, then repeat the "
                "command: finished work stays",
            ) from error

    def require(self) -> None:
        """Raises what stands in the way of using it; a new one gets its first object."""
        try:
            with self.told():
                if not self.files.exists(self.path(FIRST)):
                    self.files.pipe_file(self.path(FIRST), b'{"schema": 1}\n')
        except FileNotFoundError as error:
            remedy = "make the bucket first"
            raise StoreError("no such bucket", got=self.url, remedy=remedy) from error

    def read(self, *parts: str) -> bytes:
        """An object; FileNotFoundError without it."""
        with self.told():
            content: bytes = self.files.cat_file(self.path(*parts))
        return content

    def names(self, *parts: str) -> list[str]:
        """The names of the objects directly below a folder."""
        try:
            with self.told():
                found = self.files.ls(self.path(*parts), detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(name).name for name in found)

    def tree(self, *parts: str) -> list[str]:
        """The names of all objects below a folder, as paths from it."""
        start = self.path(*parts)
        try:
            with self.told():
                found = self.files.find(start)
        except FileNotFoundError:
            return []
        return [str(PurePosixPath(name).relative_to(start)) for name in found]

    def write(self, content: bytes, *parts: str) -> None:
        """Uploads an object."""
        with self.told():
            self.files.pipe_file(self.path(*parts), content)

    def fetch(self, folder: Path, names: list[str], *parts: str) -> None:
        """Fetches objects of a folder into one of this machine."""
        for name in names:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                what = "an object would leave its folder"
                raise StoreError(what, got=f"{self.path(*parts)}: {name!r}")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with self.told():
            self.files.get(
                [self.path(*parts, name) for name in names], [str(folder / name) for name in names]
            )

    def send(self, folder: Path, names: list[str], *parts: str) -> None:
        """Uploads files of a folder, each whole."""
        with self.told():
            self.files.put(
                [str(folder / name) for name in names], [self.path(*parts, name) for name in names]
            )

    def remove(self, *parts: str) -> None:
        """Removes an object or all below a folder; what is not there stays away."""
        with self.told(), contextlib.suppress(FileNotFoundError):
            self.files.rm(self.path(*parts), recursive=True)
