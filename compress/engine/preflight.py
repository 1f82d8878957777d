"""Before any work: can this build get through?

Hours of generation must not end in "no weights for the student", "unknown objective" or "the disk
is full". The row of every stage says what it lacks and what it would refuse, by the very functions
that refuse it later, and one error lists it all. Nothing is downloaded, trained or written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from compress.engine.config import Settings
from compress.engine.errors import DownloadError, ExplainedError, found, joined
from compress.engine.hub import OFFLINE_COMMAND, hub_answers
from compress.engine.stage import Stage, resolve
from compress.engine.store import Store

T = TypeVar("T")
Check = Callable[[], object]  # raises what is wrong
WHAT = "this build would not get through"


@dataclass(frozen=True)
class Before:
    """What the checks of a stage may look at."""

    settings: Settings
    store: Store
    known: dict[Callable[[Settings], Any], Any] = field(default_factory=dict)

    def once(self, read: Callable[[Settings], T]) -> T:
        """``read(settings)``, read once for the checks of all stages."""
        if read not in self.known:
            self.known[read] = read(self.settings)
        return cast(T, self.known[read])


def preflight(
    stages: Sequence[Stage], settings: Settings, store: Store, further: Iterable[Check] = ()
) -> None:
    """Raises all that stands in the way of a build, in one list.

    Args:
        further: checks of what no stage knows, e.g. of the run's name.

    Raises:
        ConfigError: an unknown name, with the nearest one, or settings that a stage refuses.
        DownloadError: what has to be placed by hand, and where.
        Clip2EdgeError: any other that the checks of the stages raise.
    """
    if problems := obstacles(stages, settings, store, further):
        raise joined(problems, WHAT)


def obstacles(
    stages: Sequence[Stage], settings: Settings, store: Store, further: Iterable[Check] = ()
) -> list[ExplainedError]:
    """All that stands in the way of a build."""
    before = Before(settings, store)
    online = not settings.data.offline and hub_answers()
    lacks: list[str] = []
    places = [
        partial(_place, stage.missing, settings, online, lacks) for stage in stages if stage.missing
    ]
    problems = found([*places, *_checks(stages, before), *further])
    if problems:
        what = "neither on this disk nor reachable"
        return [*problems, *(DownloadError(what, got=text) for text in lacks)]
    if not lacks:
        return []
    place = DownloadError(
        "this build needs what is neither on this disk nor reachable",
        got="".join(f"\n  - {text}" for text in lacks),
        remedy=f"place the files by hand as said above; what works offline: {OFFLINE_COMMAND}",
    )
    return [place]


def _checks(stages: Iterable[Stage], before: Before) -> Iterator[Check]:
    for stage in stages:
        if stage.checks:
            yield from resolve(stage.checks)(before)


def _place(missing: str, settings: Settings, online: bool, lacks: list[str]) -> None:
    """Adds what has to be placed by hand for a stage."""
    if text := resolve(missing)(settings, online):
        lacks += text.split("\n  - ")
