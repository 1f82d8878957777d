"""Before any work: is everything that a build needs from elsewhere on this disk or within reach?

Hours of generation must not end in "no weights for the student", so every stage's row says what it
would lack, and all of it is told in one error. Nothing is downloaded or loaded here.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.engine.config import Settings
from compress.engine.errors import DownloadError
from compress.engine.hub import hub_answers
from compress.engine.stage import Stage

OFFLINE_COMMAND = "compress build --dataset petals --shots 4"


def preflight(stages: Sequence[Stage], settings: Settings) -> None:
    """Looks for everything that stages need from outside.

    Raises:
        ConfigError: an unknown name, with the nearest one, or settings that a stage refuses.
        DownloadError: one error that names all that is missing and where each can be placed by
            hand.
    """
    online = not settings.data.offline and hub_answers()
    found = [stage.lacks(settings, online) for stage in stages]
    lost = [text for text in found if text]
    if lost:
        raise DownloadError(
            "this build needs what is neither on this disk nor reachable",
            got="".join(f"\n  - {text}" for text in lost) + "\n",
            remedy=f"place the files by hand as said above; what works offline: {OFFLINE_COMMAND}",
        )
