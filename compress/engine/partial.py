"""Partial work that can be trusted after a kill or a power cut.

A file counts once its SHA-256 stands in ``SHA256SUMS`` beside it and both are on the disk. The line
is written first: a kill in between leaves the file's former content, which has a line of its own.
Each slice of a stage that another process makes has sums of its own, ``SHA256SUMS.<slice>``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.files.atomic import atomic
from runtime.files.strict_json import to_text

SUMS = "SHA256SUMS"  # as ``sha256sum --check`` reads it


@contextmanager
def kept(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write; afterwards ``path`` is in place and will be trusted."""
    with atomic(path) as temporary:
        yield temporary
        trust(path, _sha256(temporary))


def trust(path: Path, sha256: str, sums: str = SUMS) -> None:
    """From now on ``path`` counts, with this content, which stands in the file ``sums``."""
    with (path.parent / sums).open("a", encoding="utf-8") as file:
        # a line that a power cut tore must not swallow this one
        file.write(f"\n{sha256}  {path.name}\n")
        file.flush()
        os.fsync(file.fileno())


def keep_json(path: Path, value: object) -> None:
    """Writes JSON that will be trusted."""
    with kept(path) as temporary:
        temporary.write_text(to_text(value, sort_keys=True), encoding="utf-8")


def discard_damaged(folder: Path) -> list[str]:
    """Removes from partial work what has no matching checksum, and gives the damaged files."""
    sums: set[tuple[str, ...]] = set()
    for file in folder.glob(f"{SUMS}*"):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        sums |= {tuple(line.split("  ", 1)) for line in lines}
    known = {line[-1] for line in sums}
    damaged = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif not entry.name.startswith(SUMS) and (_sha256(entry), entry.name) not in sums:
            if entry.name in known:
                damaged.append(entry.name)
            entry.unlink()
    return damaged


def _sha256(path: Path) -> str:
    """Of a file; empty for what is none, e.g. a broken link."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
