"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compress.engine.errors import ExportError
from compress.engine.locks import lock
from runtime.bundle import MANIFEST, Bundle


@contextlib.contextmanager
def scratch_beside(goal: Path) -> Iterator[Path]:
    """A scratch folder on the same file system as ``goal``, removed afterwards."""
    goal = Path(os.path.realpath(goal))
    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{goal.name}.export-", dir=goal.parent) as scratch:
        yield Path(scratch)


@contextlib.contextmanager
def held(bundle: Path, wait_s: float = 0.0) -> Iterator[None]:
    """The bundle is changed by this process alone: a manifest is read, extended and replaced.

    Raises: StoreError: another process changes it, for longer than ``wait_s`` seconds.
    """
    place = Path(os.path.realpath(bundle))
    lease, what = place.with_name(f".{place.name}.lease"), f"a change of {place.name!r}"
    with lock(lease, what, wait_s=wait_s, remedy="wait for it, or copy the bundle first"):
        yield


def require_new(folder: Path, remedy: str) -> None:
    """Raises ExportError if anything is there."""
    if os.path.lexists(folder):
        raise ExportError(f"{folder} exists already", expected="a new folder", remedy=remedy)


def require_empty(folder: Path) -> None:
    """Raises ExportError if a folder exists and holds anything, or is a file."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        remedy = "remove it or choose another name"
        raise ExportError(f"{folder} is not empty", expected="a new folder", remedy=remedy)


def copy_bundle(bundle: Bundle, folder: Path) -> None:
    """Copies the manifest and the files it lists, nothing else that may lie beside them."""
    for name in [*bundle.manifest["files"], MANIFEST]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, folder / name)
