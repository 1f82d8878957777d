"""The runtime's errors: EdgeError, and BundleError, BackendError and ImageError under it.

ExplainedError, their root, is also the base of the build's errors.
"""

from __future__ import annotations

SHOWN = 200  # characters of a wrong value that a message repeats


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
        super().__init__(" · ".join(f"{word}{part}" for word, part in parts if part is not None))


class EdgeError(ExplainedError):
    """Base of every error the runtime raises on purpose."""


class BundleError(EdgeError):
    """A bundle or model file that is damaged, unsafe or from another version."""


class BackendError(EdgeError):
    """An engine, provider or precision that is absent or failed."""


class ImageError(EdgeError):
    """An image that cannot be decoded."""
