"""May this folder be written, and is there room?"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from compress.engine.errors import StoreError
from runtime.files.system import system_fault

PROBE_BYTES = 1 << 16  # a disk without room for it is full
CLEARLY = 0.5  # of an estimate, which is a rough one: a build is refused below this share of it


def require_folder(folder: Path) -> None:
    """StoreError unless files can be made in a folder, or in the nearest one above that exists."""
    place = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        fault = system_fault(error)
        what = "nothing can be written there"
        got = f"{place}: {fault.what if fault else error}"
        remedy = "choose a folder that can be written, e.g. ~/clip2edge"
        raise StoreError(what, got=got, remedy=remedy) from error


def require_no_file(folder: Path) -> None:
    """StoreError if anything but a folder stands at its place, be it behind a link."""
    place = os.path.realpath(folder)
    if os.path.lexists(place) and not os.path.isdir(place):
        remedy = "move it, then repeat the command"
        raise StoreError("no folder stands where one is needed", got=place, remedy=remedy)


def require_space(folder: Path, needed: int) -> None:
    """StoreError if the disk of a folder has clearly less free space than ``needed`` bytes."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < CLEARLY * needed:
        raise StoreError(
            "the disk is full, or too small for this build",
            got=f"{free / 1e6:,.0f} MB free at {place}",
            expected=f"about {needed / 1e6:,.0f} MB",
            remedy="free some space (`compress clean`), take another --work-dir, or make fewer "
            "images (--set generate.per_class, --set label.views)",
        )


def raise_if_full(folder: Path) -> None:
    """OSError if the disk of a folder is full: a library that wrote there may hide that."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(PROBE_BYTES))
        probe.flush()
        os.fsync(probe.fileno())
