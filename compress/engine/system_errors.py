"""A full disk, a missing permission and their like as a StoreError, in one place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from compress.engine.errors import ExplainedError, StoreError
from runtime.files.system import RESOURCES, system_fault

SPACE = "free some space"  # the remedy of a full disk


@contextlib.contextmanager
def system_errors(root: Path) -> Iterator[None]:
    """Turns errors of the system into a StoreError with a remedy; partial work stays and resumes.

    An error with an explanation of its own stays, unless a full disk or the like is behind it.
    """
    try:
        yield
    except Exception as error:
        if (told := explained(error, root)) is None or told is error:
            raise
        raise told from error


def explained(error: Exception, root: Path | None = None) -> Exception | None:
    """A StoreError for an error of the system; the error itself if it explains itself; or None."""
    fault = system_fault(error)
    own = error if isinstance(error, ExplainedError) else None
    if isinstance(error, StoreError) or fault is None or (own and fault.number not in RESOURCES):
        return own
    got = fault.got
    if root is not None and "disk" in fault.what:
        with contextlib.suppress(OSError):
            nearest = next(path for path in (root, *root.parents) if path.exists())
            got += f"; {shutil.disk_usage(nearest).free / 1e6:.0f} MB free at {nearest}"
    remedy = fault.remedy.replace(SPACE, f"{SPACE} (`compress clean`)")
    again = f"{remedy}, then repeat the command: finished work stays"
    return StoreError(fault.what, got=got, remedy=again)
