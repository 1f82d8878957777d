"""The runtime's errors: EdgeError, and BundleError, BackendError and ImageError under it.

ExplainedError, their root, is also the base of the build's errors.
"""

from __future__ import annotations

import re
from typing import Any

SHOWN = 200  # characters of a wrong value that a message repeats
# Characters that a terminal or a page acts on: controls but tab and newline, line separators,
# changes of the writing direction, and halves of a character.
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def harmless(text: str) -> str:
    """Text for a terminal or a page: what would act there is written out, e.g. ``\\x1b``."""
    return ACTING.sub(_written_out, text)


# A line break that is not ours, e.g. of a file's name: we break lines only before items of a list.
_BREAK = re.compile(r"\r|\n(?!  (?:-|\d+\.) )")


class ExplainedError(Exception):
    """What is wrong, the wrong value, what would be accepted, and what the user can do now."""

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.remedy = remedy
        parts = (("", what), ("got ", got), ("expected ", expected), ("", remedy))
        text = " · ".join(f"{word}{part}" for word, part in parts if part is not None)
        super().__init__(harmless(_BREAK.sub(_written_out, text)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross processes; values that might not are told as text."""
        told = {name: _told(getattr(self, name)) for name in ("got", "expected")}
        return _rebuilt, (type(self), self.args, {**vars(self), **told})


def _told(value: object) -> str | None:
    return None if value is None else str(value)


def _rebuilt(kind: type[ExplainedError], args: tuple[Any, ...], facts: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    vars(error).update(facts)
    return error


class EdgeError(ExplainedError):
    """Base of every error the runtime raises on purpose."""


class BundleError(EdgeError):
    """A bundle or model file that is damaged, unsafe or from another version."""


class BackendError(EdgeError):
    """An engine, provider or precision that is absent or failed."""


class ImageError(EdgeError):
    """An image that cannot be decoded."""
