"""The store: write-once stage folders named by what they are made from.

    store/<stage>/<key>/           finished: stage.json is written last, then one atomic rename
    store/<stage>/.<key>.part/     unfinished: survives a kill, so that long stages resume
    store/<stage>/.<key>.verified  size, time and inode of every file when it was last hashed
    store/.<token>.slice           lease of a process that makes a slice of a stage

The *key* of a stage is the SHA-256 of its name, version, canonical settings and the *content* of
its inputs. The *content* of a finished stage is the SHA-256 of its files. So two settings that can
change a result never share a key, and an input made again with the same bytes invalidates nothing.

A stage counts as finished if every file has the SHA-256 in its stage.json, and that its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from compress.engine.errors import StoreError
from compress.engine.locks import Held, lock, wait_for
from compress.engine.partial import discard_damaged
from compress.engine.remote.lease import RemoteLease, leased
from compress.engine.remote.mirror import StageMirror
from compress.engine.remote.storage import Remote
from compress.engine.system_errors import system_errors
from runtime.files.atomic import atomic, flush, flush_folder
from runtime.files.regular import open_file
from runtime.files.strict_json import to_text

MANIFEST = "stage.json"
PARTIAL = "partial"  # in an unfinished folder: shards and checkpoints, removed when it is sealed
SCHEMA = 2  # 1 had no check of stage.json itself
CHECK = "check"  # in stage.json: SHA-256 of all the rest of it
#: what reading a damaged stage.json raises
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
FIRST_FIELDS = 9  # of schema 1

KEY = re.compile(r"[0-9a-f]{32}")  # of a finished stage
STAGE = re.compile(r"[a-z][a-z0-9_]*")
#: folders of a stage: finished, unfinished, on its way from object storage
FOLDER = re.compile(r"[0-9a-f]{32}|\.[0-9a-f]{32}\.part|\.[0-9a-f]{32}\.[0-9a-f]{32}\.fetched")
SLICE = re.compile(r"\.[0-9a-f]{32}\.slice")  # leases
VIEWS = re.compile(r"[0-9a-f]{32}\.(u8|crc32)")  # files of rendered views
CLEANING = ".clean.lease"

Facts = dict[str, Any]  # what a stage reports about itself: JSON values
Identity = dict[str, Any]  # what the key of a stage is made from: JSON values
Note = Callable[[str], None]


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value."""
    return to_text(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def is_place(stage: object, key: object) -> bool:
    """Whether these are names of a stage and of a key, e.g. in a record from elsewhere."""
    names = isinstance(stage, str) and isinstance(key, str)
    return names and bool(STAGE.fullmatch(str(stage)) and KEY.fullmatch(str(key)))


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path) -> str:
    """Of a stored file; empty for what cannot be read as one."""
    try:
        return sha256_file(path)
    except OSError:
        return ""


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON, atomically."""
    with atomic(path) as temporary:
        text = to_text(value, indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Artifact:
    """A finished stage."""

    stage: str
    path: Path
    facts: Facts
    content: str  # SHA-256 over the names and bytes of its files
    seconds: float = 0.0  # of the last attempt
    identity: Identity = field(default_factory=dict)
    resumed: bool = False  # the last attempt found parts of an earlier one


class Store:
    """Write-once stage folders below ``root``."""

    def __init__(self, root: Path, remote: Remote | None = None) -> None:
        self.root = root
        self.remote = remote

    @classmethod
    def of(cls, work: Path) -> Store:
        """The store of a work folder."""
        return cls(work / "store", Remote.of(work))

    @property
    def weights(self) -> Path:
        """The folder for weights that were converted once, beside the stages."""
        return self.root.parent / "weights"

    @property
    def views(self) -> Path:
        """The folder for rendered views, a cache beside the stages."""
        return self.root.parent / "views"

    def folder(self, stage: str, key: str) -> Path:
        """Where a finished stage lies, or would."""
        return self.root / stage / key

    def part(self, stage: str, key: str) -> Path:
        """Where an unfinished stage lies, or would."""
        return self.root / stage / f".{key}.part"

    def folders(self) -> list[Path]:
        """Every stage folder, unfinished ones too; whatever else lies there is not the store's."""
        found = (path for path in self.root.glob("*/*") if FOLDER.fullmatch(path.name))
        return sorted(path for path in found if STAGE.fullmatch(path.parent.name) and path.is_dir())

    def view_files(self) -> list[Path]:
        """The files of rendered views; whatever else lies beside them is not the store's."""
        files = list(self.views.iterdir()) if self.views.is_dir() else []
        return sorted(file for file in files if VIEWS.fullmatch(file.name) and file.is_file())

    @contextlib.contextmanager
    def slicing(self, stage: str) -> Iterator[None]:
        """While a slice of a stage is made: any number at once, and none while ``clean`` runs."""
        with lock(self.root / f".{uuid.uuid4().hex}.slice", f"a slice of stage {stage}"):
            self.wait_for_clean()
            yield

    def wait_for_clean(self) -> None:
        """Waits until no ``clean`` runs, which does not know of work that starts meanwhile."""
        wait_for(self.root / CLEANING, "a clean store")

    @contextlib.contextmanager
    def cleaning(self) -> Iterator[None]:
        """Keeps slices out; raises StoreError if one is being made."""
        with contextlib.ExitStack() as held:
            if self.root.is_dir():
                held.enter_context(lock(self.root / CLEANING, "a clean store"))
                for lease in sorted(self.root.glob(".*.slice")):
                    if SLICE.fullmatch(lease.name):
                        held.enter_context(lock(lease, "a slice of a stage"))
            yield

    def get(self, stage: str, key: str, *, rehash: bool = False) -> Artifact | None:
        """The finished stage, or None if there is none or it is damaged.

        A file is hashed at its first use, and again when size, time or inode have changed since;
        with ``rehash`` always.
        """
        try:
            return self._read(stage, key, rehash)[0]
        except UNREADABLE:
            pass
        if self.remote is None or not self._elsewhere(stage, key).fetch(self.folder(stage, key)):
            return None
        with contextlib.suppress(*UNREADABLE):
            return self._read(stage, key, rehash)[0]
        return None

    def _elsewhere(self, stage: str, key: str) -> StageMirror:
        assert self.remote is not None
        return StageMirror(self.remote, stage, key)

    def damage(self, stage: str, key: str, *, rehash: bool = False) -> str | None:
        """Why a stage that is there cannot be used; None if it can, or is not there."""
        folder = self.folder(stage, key)
        if not os.path.lexists(folder):
            return None
        try:
            _, damaged = self._read(stage, key, rehash)
        except UNREADABLE:
            return f"{folder / MANIFEST} is damaged"
        return f"{folder / damaged} is damaged" if damaged else None

    def check(self) -> Iterator[tuple[str, str, str | None]]:
        """Stage, key and damage of every finished stage, each file hashed."""
        for folder in self.folders():
            place = (folder.parent.name, folder.name)
            if is_place(*place):
                yield (*place, self.damage(*place, rehash=True))

    def _read(self, stage: str, key: str, rehash: bool) -> tuple[Artifact | None, str]:
        """The stage, or None and its first damaged file."""
        folder = self.folder(stage, key)
        with open_file(folder / MANIFEST) as file:
            manifest = _checked_manifest(file.read())
        seen = {} if rehash else _read_seen(self._seen(stage, key))
        now: dict[str, list[int]] = {}
        for name, entry in manifest["files"].items():
            now[name] = _state(folder / name)
            if seen.get(name) != now[name] and _digest(folder / name) != entry["sha256"]:
                return None, name
        if now != seen:
            self._write_seen(stage, key, now)
        manifest.setdefault("resumed", False)  # the first schema has none
        fields = (manifest[name] for name in ("facts", "content", "seconds", "identity", "resumed"))
        return Artifact(stage, folder, *fields), ""

    def remove(self, folder: Path) -> None:
        """Removes the folder of a stage, and what is noted of it."""
        _remove(folder)
        self._seen(folder.parent.name, folder.name).unlink(missing_ok=True)

    def _seen(self, stage: str, key: str) -> Path:
        return self.root / stage / f".{key}.verified"

    def _write_seen(self, stage: str, key: str, states: Mapping[str, list[int]]) -> None:
        # a store on a read-only disk is hashed at every use
        with contextlib.suppress(OSError), atomic(self._seen(stage, key)) as temporary:
            temporary.write_text(canonical(states), encoding="utf-8")

    def stages(self, stage: str = "*") -> Iterator[Artifact]:
        """Every finished stage, or those of one name."""
        for manifest in sorted(self.root.glob(f"{stage}/*/{MANIFEST}")):
            if artifact := self.get(manifest.parent.parent.name, manifest.parent.name):
                yield artifact

    def make(
        self,
        stage: str,
        key: str,
        identity: Identity,
        fill: Callable[[Path], Facts],
        note: Note = lambda text: None,
        threads: int | None = None,
    ) -> Artifact:
        """Runs ``fill(folder) -> facts`` and seals the folder, under a lock.

        ``threads`` is recorded: another number may give other bytes under the same key.
        """
        part = self.part(stage, key)
        what = f"stage {stage}"
        with system_errors(self.root), contextlib.ExitStack() as leases:
            part.mkdir(parents=True, exist_ok=True)
            held: list[Held | RemoteLease]
            held = [leases.enter_context(lock(part.with_suffix(".lease"), what))]
            elsewhere = self.remote and StageMirror(self.remote, stage, key)
            if elsewhere:
                is_done = partial(self._is_done, stage, key)
                other = leases.enter_context(leased(elsewhere, what, is_done, note))
                held += [other] if other else []
            if done := self.get(stage, key):
                return done
            if damage := self.damage(stage, key):
                note(f"{damage}: stage {stage} is made again")
            if elsewhere:
                elsewhere.fetch_partials(part / PARTIAL)
            for name in discard_damaged(part / PARTIAL):
                note(f"{stage}: the unfinished {name} is damaged and is made again")
            resumed = (part / PARTIAL).exists()
            for leftover in part.iterdir():  # after a kill, only partial/ can be trusted
                if leftover.name != PARTIAL:
                    _remove(leftover)
            start = time.monotonic()
            with elsewhere.partials_of(part / PARTIAL) if elsewhere else contextlib.nullcontext():
                facts = fill(part)
            seconds = time.monotonic() - start
            for lease in held:
                lease.require()
            _remove(part / PARTIAL)
            record = {"seconds": round(seconds, 3), "resumed": resumed, "threads": threads}
            self._seal(stage, key, {**record, "facts": facts, "identity": identity})
            if elsewhere:
                elsewhere.send(self.folder(stage, key))
        if finished := self.get(stage, key):
            return finished
        what = f"stage {stage} was sealed but cannot be read back"
        raise StoreError(what, got=self.folder(stage, key), remedy="check the disk")

    def _seal(self, stage: str, key: str, record: Mapping[str, Any]) -> None:
        """Puts an unfinished stage into its place, whole and on the disk."""
        part, final = self.part(stage, key), self.folder(stage, key)
        files = _flushed(part)
        digests = {name: row["sha256"] for name, row in files.items()}
        content = sha256_text(canonical(digests))
        head = {"schema": SCHEMA, "stage": stage, "key": key, "content": content}
        manifest = {**head, **record, "files": files}
        check = sha256_text(canonical(json.loads(canonical(manifest))))  # as read back
        write_json(part / MANIFEST, {**manifest, CHECK: check})
        _remove(final)  # present but damaged
        os.replace(part, final)
        flush_folder(final.parent)
        self._write_seen(stage, key, {name: _state(final / name) for name in files})

    def _is_done(self, stage: str, key: str) -> bool:
        return self.get(stage, key) is not None


def _checked_manifest(text: bytes) -> dict[str, Any]:
    """stage.json; ValueError if it is not as it was written."""
    manifest: dict[str, Any] = json.loads(text)
    check = manifest.pop(CHECK, None)
    if check is None and manifest["schema"] == 1 and len(manifest) == FIRST_FIELDS:
        return manifest
    if check != sha256_text(canonical(manifest)):
        raise ValueError("stage.json has another check")
    return manifest


def _flushed(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> size and SHA-256 of every file below a folder, once all of it is on the disk."""
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            flush_folder(path)
        else:
            flush(path)
            entry = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            files[path.relative_to(folder).as_posix()] = entry
    return files


def _state(file: Path) -> list[int]:
    """What changes when a file is written to: size, times in nanoseconds, inode."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _read_seen(file: Path) -> dict[str, list[int]]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        with open_file(file) as text:
            seen = json.load(text)
        if isinstance(seen, dict):
            return seen
    return {}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
