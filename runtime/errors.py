"""The runtime's errors, each with what happened, what it got, what it expected and the remedy.

ExplainedError      holds these four parts; also the base of the build's errors
└─ EdgeError        base of every error the runtime raises on purpose
   ├─ BundleError   a bundle or model file that is damaged, unsafe or from another version
   ├─ BackendError  an engine, provider or precision that is absent or failed
   └─ ImageError    an image that cannot be decoded
"""

from __future__ import annotations

SHOWN = 200  # characters of a wrong value that a message repeats


class ExplainedError(Exception):
    """An error that explains itself in one line.

    Args:
        what: one sentence that names what is wrong.
        got: the wrong value.
        expected: what would be accepted.
        remedy: what the user can do now; commands are written in full.
    """

    def __init__(
        self, what: str, *, got: object = None, expected: object = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.remedy = remedy
        parts = [what]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if remedy is not None:
            parts.append(remedy)
        super().__init__(" · ".join(parts))


class EdgeError(ExplainedError):
    """Base of every error the runtime raises on purpose."""


class BundleError(EdgeError):
    """A bundle or model file that is damaged, unsafe or from another version."""


class BackendError(EdgeError):
    """An engine, provider or precision that is absent or failed."""


class ImageError(EdgeError):
    """An image that cannot be decoded."""
