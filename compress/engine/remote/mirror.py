"""What goes between a mirror and its storage: finished stages, partial work, runs.

<url>/store/<stage>/<key>/...                   finished: stage.json is uploaded last
<url>/store/<stage>/<key>.partial/<name>@<sha>  partial work, named with its SHA-256
<url>/store/<stage>/<key>.lease                 who makes it, see ``lease.py``
<url>/runs/<name>/...                           runs, without their links into the store
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compress.engine.errors import StoreError
from compress.engine.partial import SUMS, trust
from compress.engine.remote.storage import Remote
from runtime.files.atomic import atomic, flush_folder, is_temporary

STORE = "store"
RUNS = "runs"
MANIFEST = "stage.json"
LOOK_S = 2.0  # between two looks for partial work to upload


@dataclass(frozen=True)
class StageMirror:
    """One stage in storage, finished or not."""

    remote: Remote
    stage: str
    key: str

    @classmethod
    def of(cls, url: str, part: Path) -> StageMirror:
        """The one of an unfinished stage's folder."""
        return cls(Remote(url), part.parent.name, part.name.removeprefix(".").removesuffix(".part"))

    @property
    def lease(self) -> tuple[str, ...]:
        """The object of its lease."""
        return (STORE, self.stage, f"{self.key}.lease")

    @property
    def _finished(self) -> tuple[str, ...]:
        return (STORE, self.stage, self.key)

    @property
    def partial(self) -> tuple[str, ...]:
        """The folder of its partial work."""
        return (STORE, self.stage, f"{self.key}.partial")

    def fetch(self, folder: Path) -> bool:
        """Fetches the finished stage into ``folder``, whole or not at all; False: not there."""
        try:
            manifest = self.remote.read(*self._finished, MANIFEST)
            names = list(json.loads(manifest)["files"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False  # a damaged one is made again
        fresh = folder.with_name(f".{self.key}.{uuid.uuid4().hex}.fetched")
        fresh.mkdir(parents=True)
        try:
            self.remote.fetch(fresh, names, *self._finished)
            (fresh / MANIFEST).write_bytes(manifest)
            with contextlib.suppress(OSError):  # another process has fetched it
                os.replace(fresh, folder)
            flush_folder(folder.parent)
        except FileNotFoundError:
            return False  # it is being removed
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return True

    def send(self, folder: Path) -> None:
        """Uploads the finished stage, its manifest last, and removes the partial work."""
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        self.remote.send(folder, [name for name in names if name != MANIFEST], *self._finished)
        self.remote.send(folder, [MANIFEST], *self._finished)
        self.remote.remove(*self.partial)

    def fetch_partials(self, folder: Path) -> None:
        """Fetches the partial work that ``folder`` lacks."""
        for name in self.remote.names(*self.partial):
            known, _, sha256 = name.rpartition("@")
            if known and not (folder / known).exists():
                self.fetch_partial(folder / known, sha256)

    def fetch_partial(self, path: Path, sha256: str) -> None:
        """Fetches a piece of partial work; one that arrives with other bytes is not kept."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            content = self.remote.read(*self.partial, f"{path.name}@{sha256}")
            if hashlib.sha256(content).hexdigest() == sha256:
                with atomic(path) as temporary:
                    temporary.write_bytes(content)
                trust(path, sha256)

    def send_partial(self, path: Path, sha256: str) -> None:
        """Uploads a piece of partial work, in place of an older one of its name."""
        self.remote.write(path.read_bytes(), *self.partial, f"{path.name}@{sha256}")

    @contextlib.contextmanager
    def partials_of(self, folder: Path) -> Iterator[None]:
        """Uploads what ``folder`` keeps, while the body runs and at its end."""
        sender = Sender(self, folder)
        thread = threading.Thread(target=sender.run, daemon=True)
        thread.start()
        try:
            yield
            sender.send()
        except BaseException:
            with contextlib.suppress(StoreError):
                sender.send()
            raise
        finally:
            sender.ended.set()
            thread.join()


class Sender:
    """Uploads trusted files of a folder of partial work, each content once."""

    def __init__(self, mirror: StageMirror, folder: Path) -> None:
        self.mirror = mirror
        self.folder = folder
        self.sent: dict[str, str] = {}  # name -> SHA-256
        self.ended = threading.Event()
        self._one = threading.Lock()

    def run(self) -> None:
        """Looks for new files until the end; a network that fails is tried again."""
        while not self.ended.wait(LOOK_S):
            with contextlib.suppress(StoreError, OSError):
                self.send()

    def send(self) -> None:
        """Uploads what is new."""
        with self._one:
            new = [one for one in self._trusted().items() if self.sent.get(one[0]) != one[1]]
            # what was fetched, or a worker has sent
            there = set(self.mirror.remote.names(*self.mirror.partial)) if new else set()
            for name, sha256 in new:
                path = self.folder / name
                if f"{name}@{sha256}" in there:
                    self.sent[name] = sha256
                    continue
                if not path.is_file():
                    continue
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() != sha256:
                    continue  # its checksum is there first; the file follows
                self.mirror.remote.write(content, *self.mirror.partial, f"{name}@{sha256}")
                if before := self.sent.get(name):
                    self.mirror.remote.remove(*self.mirror.partial, f"{name}@{before}")
                self.sent[name] = sha256

    def _trusted(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for file in sorted(self.folder.glob(f"{SUMS}*")):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                sha256, gap, name = line.partition("  ")
                if gap and not is_temporary(name):
                    found[name] = sha256
        return found


def send_run(remote: Remote, folder: Path) -> None:
    """Uploads a run's folder, without its links into the store."""
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(parent) / name).is_symlink()]
        inside = (Path(parent) / name for name in files if not is_temporary(name))
        names += [path.relative_to(folder).as_posix() for path in inside if not path.is_symlink()]
    kept = [name for name in sorted(names) if not name.endswith(".lease")]
    remote.send(folder, kept, RUNS, folder.name)


def fetch_runs(remote: Remote, runs: Path, only: str | None = None) -> None:
    """Fetches runs that are not here; ``only`` that one."""
    for name in remote.names(RUNS) if only is None else [only]:
        if not (runs / name).is_dir() and (found := remote.tree(RUNS, name)):
            remote.fetch(runs / name, found, RUNS, name)
