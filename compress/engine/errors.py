"""The errors of a build, each with what happened, what it got, what it expected and the remedy.

Clip2EdgeError
├─ ConfigError          a wrong option, preset or --set path
├─ DataError            images, labels or splits that cannot be used
├─ DownloadError        a file that is neither on disk nor reachable; says where to put it by hand
├─ MissingExtraError    an optional dependency that is not installed
├─ StoreError           the work folder is locked, full or damaged
├─ SpanError            a piece of a stage that failed again and again, whoever made it
├─ FleetError           pieces of a stage from machines that compute differently
├─ RankError            a process of torchrun that has ended, or cannot be reached
├─ TrainingError        a loss that became NaN or infinite
├─ ExportError          a model that cannot be exported
│  └─ ParityError       an exported graph that disagrees with the model it came from
├─ BudgetError          a budget, bench or calibration that cannot be read or does not fit
│  └─ BudgetUnmetError  no candidate keeps the limits
└─ BenchFileError       a bench.json that is damaged, or of another bundle
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from runtime.errors import ExplainedError

Row = TypeVar("Row")


class Clip2EdgeError(ExplainedError):
    """Base of every error a build raises on purpose."""

    problems: tuple[ExplainedError, ...] = ()  # those that it lists, see `joined`


class ConfigError(Clip2EdgeError):
    """A wrong option, preset or --set path."""

    rest: Any = None  # of wrong settings: `Settings` with defaults in their place, if that can be


class DataError(Clip2EdgeError):
    """Images, labels or splits that cannot be used."""


class DownloadError(Clip2EdgeError):
    """A file that is neither on disk nor reachable."""


class MissingExtraError(Clip2EdgeError):
    """An optional dependency that is not installed."""


class StoreError(Clip2EdgeError):
    """The work folder is locked, full or damaged."""


class SpanError(Clip2EdgeError):
    """A piece of a stage that failed again and again, whoever made it."""


class FleetError(Clip2EdgeError):
    """Pieces of a stage from machines that compute differently."""


class RankError(Clip2EdgeError):
    """A process of torchrun that has ended, or cannot be reached."""


class TrainingError(Clip2EdgeError):
    """Training cannot go on: the loss became NaN or infinite."""


class ExportError(Clip2EdgeError):
    """A model that cannot be exported."""


class ParityError(ExportError):
    """An exported graph that disagrees with the model it came from."""


class BudgetError(Clip2EdgeError):
    """A budget, bench or calibration that cannot be read or does not fit."""


class BudgetUnmetError(BudgetError):
    """No candidate keeps the limits of a budget: an answer, not a mistake (exit code 1)."""


class BenchFileError(Clip2EdgeError):
    """A bench.json that is damaged, or of another bundle."""


def joined(problems: Sequence[ExplainedError], what: str) -> ExplainedError:
    """One error for one or more problems: the only one itself, or a list, one line each.

    A list has the class of its problems, ConfigError where they differ.
    """
    flat = [one for each in problems for one in (getattr(each, "problems", ()) or (each,))]
    flat = list({str(one): one for one in flat}.values())
    if len(flat) == 1:
        return flat[0]
    kinds = {type(one) for one in flat}
    only = kinds.pop()
    kind = ConfigError if kinds or not issubclass(only, Clip2EdgeError) else only
    lines = (str(one).strip() for one in flat)
    error = kind(f"{what}:" + "".join(f"\n  {n}. {line}" for n, line in enumerate(lines, 1)))
    error.problems = tuple(flat)
    return error


def found(checks: Iterable[Callable[[], object]]) -> list[ExplainedError]:
    """What the checks raise on purpose."""
    problems: list[ExplainedError] = []
    for check in checks:
        try:
            check()
        except ExplainedError as error:
            problems.append(error)
    return problems


def nearest(name: str, choices: Iterable[str]) -> str:
    """A remedy that names the nearest valid choice.

    >>> nearest("flower", ["cars", "flowers"])
    "did you mean 'flowers'? (one of: cars, flowers)"
    """
    options = sorted(choices)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    listed = ", ".join(options)
    if len(options) > 16:
        listed = f"{', '.join(options[:12])}, ... ({len(options)} in all)"
    return f"did you mean {close[0]!r}? (one of: {listed})" if close else f"one of: {listed}"


def require_known(
    name: str, choices: Collection[str], what: str, error: type[Clip2EdgeError] = ConfigError
) -> None:
    """Raises ``error`` with the sentence ``what`` and the nearest name if no choice is ``name``."""
    if name not in choices:
        raise error(what, got=repr(name), remedy=nearest(name, choices))


def lookup(
    table: Mapping[str, Row], name: str, what: str, error: type[Clip2EdgeError] = ConfigError
) -> Row:
    """The row of a name; raises as ``require_known``."""
    require_known(name, table, what, error)
    return table[name]
