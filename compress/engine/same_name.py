"""A build under the name of an earlier run: what it replaces is told, and other images are refused.

Runs are named after their images, shots and seed unless ``--name`` is given. Folders of two places
may have one name, and so do two lists of as many classes.
"""

from __future__ import annotations

import os

from compress.engine.config import Settings, resolve
from compress.engine.errors import ConfigError, ExplainedError
from compress.engine.plan import changes
from compress.engine.runs import RunFolder

MOST_TOLD = 3  # changed settings in the note
#: what may change without another result
LEFT_OUT = ("notes", "budget.", "data.offline", "data.root")
KEEPS_BOTH = "--name NAME keeps both"


def require_same_images(run: RunFolder, settings: Settings) -> None:
    """Raises ConfigError if the run there is of other images, which are still there."""
    before = _earlier(run)
    if before is None or _images(before) == _images(settings):
        return
    moved = before.data.path is not None and not before.data.path.exists()
    if not moved:
        raise ConfigError(
            f"the run {run.path.name!r} was made from other images",
            got=_images(settings),
            expected=_images(before),
            remedy=f"{KEEPS_BOTH}; or remove {run.path}",
        )


def replaced(run: RunFolder, settings: Settings) -> str:
    """Which settings of a finished run a build replaces, as a note; empty if none."""
    before = _earlier(run)
    if before is None or not (run.path / "report.json").is_file():
        return ""
    lines = [line for line in changes(before, settings) if not line.startswith(LEFT_OUT)]
    if not lines:
        return ""
    more = f", and {len(lines) - MOST_TOLD} more" if len(lines) > MOST_TOLD else ""
    what = f"note: this replaces the results of run {run.path.name}, built with other settings"
    return f"{what} ({', '.join(lines[:MOST_TOLD])}{more}); {KEEPS_BOTH}"


def _images(settings: Settings) -> str:
    """Where the images of a run come from."""
    data = settings.data
    if data.path is not None:
        return os.path.realpath(data.path)
    return data.dataset or f"the classes {', '.join(data.classes or ())}"


def _earlier(run: RunFolder) -> Settings | None:
    """The settings of the run there; None without any that can be read."""
    try:
        return resolve(run.layer()) if run.config.is_file() else None
    except ExplainedError:
        return None
