"""The store: write-once stage folders named by what they are made from.

    store/<stage>/<key>/           finished: stage.json is written last, then one atomic rename
    store/<stage>/.<key>.part/     unfinished: survives a kill, so that long stages resume

The *key* of a stage is the SHA-256 of its name, version, canonical settings and the *content* of
its inputs. The *content* of a finished stage is the SHA-256 of its files. So two settings that can
change a result never share a key, and an input made again with the same bytes invalidates nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.engine.errors import StoreError
from runtime.files.atomic import atomic

MANIFEST = "stage.json"
PARTIAL = "partial"  # in an unfinished folder: shards and checkpoints, removed when it is sealed

Facts = dict[str, Any]  # what a stage reports about itself: JSON values
Identity = dict[str, Any]  # what the key of a stage is made from: JSON values


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON, atomically."""
    with atomic(path) as temporary:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
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


class Store:
    """Write-once stage folders below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, work: Path) -> Store:
        """The store of a work folder."""
        return cls(work / "store")

    def folder(self, stage: str, key: str) -> Path:
        """Where a finished stage lies, or would."""
        return self.root / stage / key

    def part(self, stage: str, key: str) -> Path:
        """Where an unfinished stage lies, or would."""
        return self.root / stage / f".{key}.part"

    def get(self, stage: str, key: str) -> Artifact | None:
        """The finished stage, or None: no readable manifest, or a file of the wrong size."""
        folder = self.folder(stage, key)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            for name, entry in manifest["files"].items():
                if (folder / name).stat().st_size != entry["bytes"]:
                    return None
            fields = (manifest[name] for name in ("facts", "content", "seconds", "identity"))
            return Artifact(stage, folder, *fields)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stages(self, stage: str = "*") -> Iterator[Artifact]:
        """Every finished stage, or those of one name."""
        for manifest in sorted(self.root.glob(f"{stage}/*/{MANIFEST}")):
            if artifact := self.get(manifest.parent.parent.name, manifest.parent.name):
                yield artifact

    def make(
        self, stage: str, key: str, identity: Identity, fill: Callable[[Path], Facts]
    ) -> Artifact:
        """Runs ``fill(folder) -> facts`` and seals the folder, under a lock."""
        part = self.part(stage, key)
        part.mkdir(parents=True, exist_ok=True)
        with lock(part.with_suffix(".lock"), f"stage {stage}"), full_disk(self.root):
            if done := self.get(stage, key):
                return done
            resumed = (part / PARTIAL).exists()
            for leftover in part.iterdir():  # after a kill, only partial/ can be trusted
                if leftover.name != PARTIAL:
                    _remove(leftover)
            start = time.monotonic()
            facts = fill(part)
            seconds = time.monotonic() - start
            _remove(part / PARTIAL)
            paths = [path for path in sorted(part.rglob("*")) if path.is_file()]
            digests = {str(path.relative_to(part)): sha256_file(path) for path in paths}
            manifest = {
                "schema": 1,
                "stage": stage,
                "key": key,
                "content": sha256_text(canonical(digests)),
                "seconds": round(seconds, 3),
                "resumed": resumed,
                "facts": facts,
                "identity": identity,
                "files": {
                    name: {"bytes": path.stat().st_size, "sha256": digest}
                    for path, (name, digest) in zip(paths, digests.items(), strict=True)
                },
            }
            write_json(part / MANIFEST, manifest)
            final = self.folder(stage, key)
            _remove(final)  # present but invalid, see get()
            os.replace(part, final)
        if finished := self.get(stage, key):
            return finished
        what = f"stage {stage} was sealed but cannot be read back"
        raise StoreError(what, got=final, remedy="check the disk")


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Holds an advisory lock that the kernel drops when the process dies.

    Raises StoreError, with the other's process id, if another process holds it.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{what} is being made by another process in the same work folder",
            got=f"process {path.read_text(encoding='utf-8').strip() or '?'} holds {path}",
            remedy="wait for it, or give this build another folder with --work-dir",
        ) from error
    try:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        held.release()


@contextlib.contextmanager
def full_disk(root: Path) -> Iterator[None]:
    """Turns "no space left" into an error with a remedy; partial work stays and resumes."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreError(
            "the disk is full",
            got=f"{shutil.disk_usage(root).free / 1e6:.0f} MB free at {root}",
            remedy="free some space (`compress clean`) and repeat the command: finished work stays",
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
