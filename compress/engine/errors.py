"""The exception tree. A message says what happened, what was got, what was expected and the remedy.

Clip2EdgeError
├─ ConfigError        a wrong option, preset or --set path
├─ DataError          images, labels, splits
├─ DownloadError      something that could not be had, where to put it by hand, what works offline
├─ MissingExtraError  an optional dependency that is not installed
├─ StoreError         the work folder: locked, full, damaged
├─ TrainingError      a loss that became NaN or infinite
├─ ExportError        a graph that could not be exported
│  └─ ParityError     an exported graph that disagrees with the model it came from
├─ BudgetError        a budget, bench or calibration that cannot be read or does not fit
│  └─ BudgetUnmetError   nothing can keep the limits
└─ BenchFileError     a bench.json that is damaged, or of another bundle
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Clip2EdgeError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: one sentence that names the thing that is wrong.
        got: the value found.
        expected: what would have been accepted.
        remedy: what the user can do now; commands are written in full.
    """

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        self.what, self.got, self.expected, self.remedy = what, got, expected, remedy
        parts = [what]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if remedy is not None:
            parts.append(remedy)
        super().__init__(" · ".join(parts))


class ConfigError(Clip2EdgeError):
    """A wrong option, preset or --set path."""


class DataError(Clip2EdgeError):
    """Images, labels or splits that cannot be used."""


class DownloadError(Clip2EdgeError):
    """Something that is neither on disk nor reachable."""


class MissingExtraError(Clip2EdgeError):
    """An optional dependency that is not installed."""


class StoreError(Clip2EdgeError):
    """The work folder is locked, full or damaged."""


class TrainingError(Clip2EdgeError):
    """Training cannot go on: the loss became NaN or infinite."""


class ExportError(Clip2EdgeError):
    """A model that could not be exported."""


class ParityError(ExportError):
    """An exported graph that disagrees with the model it came from."""


class BudgetError(Clip2EdgeError):
    """A budget expression that cannot be read."""


class BudgetUnmetError(BudgetError):
    """No candidate can keep the limits of a budget: an answer, not a mistake of the user's (exit
    code 1).
    """


class BenchFileError(Clip2EdgeError):
    """A bench.json that is damaged, or of another bundle."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A remedy that names the nearest valid choice, e.g. ``did you mean 'flowers'? (one of: cars,
    flowers)``.
    """
    options = sorted(choices)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    listed = (
        ", ".join(options)
        if len(options) <= 16
        else f"{', '.join(options[:12])}, ... ({len(options)} in all)"
    )
    return f"did you mean {close[0]!r}? (one of: {listed})" if close else f"one of: {listed}"
