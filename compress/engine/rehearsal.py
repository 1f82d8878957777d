"""What preflight would say of a build that is only planned, maybe for another machine."""

from __future__ import annotations

from collections.abc import Sequence

from compress.engine.config import Settings
from compress.engine.errors import DownloadError, MissingExtraError, StoreError, found, joined
from compress.engine.preflight import WHAT, Check, obstacles
from compress.engine.progress import Progress
from compress.engine.stage import Stage
from compress.engine.store import Store

HERE = (DownloadError, MissingExtraError, StoreError)  # of a stage: weights, packages, room


def rehearse(
    stages: Sequence[Stage],
    settings: Settings,
    store: Store,
    of_run: Sequence[Check],
    progress: Progress,
) -> None:
    """Raises, as `preflight` does, what stands in the way of a build on any machine.

    What only this machine lacks becomes notes of ``progress``. Nothing is made.

    Args:
        of_run: checks of what no stage knows; what they refuse is refused.
    """
    problems = obstacles(stages, settings, store, of_run)
    refused = {str(error) for error in found(of_run)}
    if any(str(error) in refused or not isinstance(error, HERE) for error in problems):
        raise joined(problems, WHAT)
    for lack in problems:
        progress.note(f"note: a build on this machine would stop: {lack}")
