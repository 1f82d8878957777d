"""The store: write-once stage folders named by what they were made from.

    store/<stage>/<key>/           finished; stage.json was written last, then one atomic rename
    store/<stage>/.<key>.part/     being made; survives a kill, so that long stages resume inside
                                   themselves

The *key* of a stage is the SHA-256 over its name, version, canonical settings and the *content* of
its inputs. The *content* of a finished stage is the SHA-256 over its files. Two settings that can
change a result never share a key, and an input that is remade with the same bytes invalidates
nothing downstream.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.engine.errors import StoreError

MANIFEST = "stage.json"
PARTIAL = "partial"  # inside an unfinished folder: shards and checkpoints, removed before sealing


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Writes JSON for people and machines, atomically."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


@dataclass(frozen=True)
class Artifact:
    """A finished stage.

    Attributes:
        stage: the stage's name.
        path: its folder.
        facts: what the stage said of itself (JSON-able).
        content: SHA-256 over every file's name and bytes.
        seconds: how long the (last) attempt took.
        identity: what the key was made from.
    """

    stage: str
    path: Path
    facts: dict[str, Any]
    content: str
    seconds: float = 0.0
    identity: dict[str, Any] = field(default_factory=dict)


class Store:
    """Write-once stage folders below one work directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str, key: str) -> Path:
        """Where the finished stage lies (whether or not it exists)."""
        return self.root / stage / key

    def get(self, stage: str, key: str) -> Artifact | None:
        """The finished stage, or None. A folder without a readable manifest, or with a file of
        another size, does not exist.
        """
        folder = self.folder(stage, key)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            for name, entry in manifest["files"].items():
                if (folder / name).stat().st_size != entry["bytes"]:
                    return None
            return Artifact(
                stage,
                folder,
                manifest["facts"],
                manifest["content"],
                manifest["seconds"],
                manifest["identity"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stages(self) -> Iterator[Artifact]:
        """Every finished stage in the store."""
        for manifest in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            found = self.get(manifest.parent.parent.name, manifest.parent.name)
            if found:
                yield found

    def make(
        self,
        stage: str,
        key: str,
        identity: Mapping[str, Any],
        fill: Callable[[Path], dict[str, Any]],
    ) -> Artifact:
        """Runs ``fill(folder) -> facts`` and seals the folder.

        Raises:
            StoreError: another process is making the same stage, or the disk is full. What was
                finished stays.
        """
        part = self.root / stage / f".{key}.part"
        part.mkdir(parents=True, exist_ok=True)
        with lock(part.with_suffix(".lock"), f"stage {stage}"), full_disk(self.root):
            done = self.get(stage, key)
            if done:
                return done
            resumed = (part / PARTIAL).exists()
            for leftover in part.iterdir():  # only partial/ is trusted after a kill
                if leftover.name != PARTIAL:
                    _remove(leftover)
            start = time.monotonic()
            facts = fill(part)
            seconds = time.monotonic() - start
            _remove(part / PARTIAL)
            files = {
                str(path.relative_to(part)): {
                    "bytes": path.stat().st_size,
                    "sha256": sha256_file(path),
                }
                for path in sorted(part.rglob("*"))
                if path.is_file()
            }
            content = sha256_text(
                canonical({name: entry["sha256"] for name, entry in files.items()})
            )
            manifest = {
                "schema": 1,
                "stage": stage,
                "key": key,
                "content": content,
                "seconds": round(seconds, 3),
                "resumed": resumed,
                "facts": facts,
                "identity": dict(identity),
                "files": files,
            }
            write_json(part / MANIFEST, manifest)
            final = self.folder(stage, key)
            _remove(final)  # present but not valid, see get()
            os.replace(part, final)
        finished = self.get(stage, key)
        if finished is None:
            raise StoreError(
                f"stage {stage} was sealed but cannot be read back",
                got=final,
                remedy="check the disk",
            )
        return finished


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Holds an advisory lock that the kernel drops when the process dies.

    Raises:
        StoreError: another process holds it (its process id is named).
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise StoreError(
                f"{what} is being made by another process in the same work folder",
                got=f"process {file.read().strip() or '?'} holds {path}",
                remedy="wait for it, or give this build another folder with --work-dir",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def full_disk(root: Path) -> Iterator[None]:
    """Turns "no space left" into an error that says what to do; partial work stays and is
    resumed.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreError(
            "the disk is full",
            got=f"{shutil.disk_usage(root).free / 1e6:.0f} MB free at {root}",
            remedy="free some space (`compress clean`) and run the same command again: "
            "finished work is kept",
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
