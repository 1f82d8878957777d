"""Before any work: is everything a build needs from outside on this disk or within reach?

Hours of generation must not end in "no weights for the student", so the row of every stage says
what it lacks, and one error lists it all. Nothing is downloaded or loaded here.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.engine.config import Settings
from compress.engine.errors import DownloadError
from compress.engine.hub import OFFLINE_COMMAND, hub_answers
from compress.engine.stage import Stage, resolve


def preflight(stages: Sequence[Stage], settings: Settings) -> None:
    """Checks that stages can get all they need from outside.

    Raises:
        ConfigError: an unknown name, with the nearest one, or settings that a stage refuses.
        DownloadError: lists all that is missing and where to put each by hand.
    """
    online = not settings.data.offline and hub_answers()
    lacks = (resolve(stage.missing)(settings, online) for stage in stages if stage.missing)
    if missing := list(filter(None, lacks)):
        raise DownloadError(
            "this build needs what is neither on this disk nor reachable",
            got="".join(f"\n  - {text}" for text in missing) + "\n",
            remedy=f"place the files by hand as said above; what works offline: {OFFLINE_COMMAND}",
        )
