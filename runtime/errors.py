"""The runtime's own errors. A message says what happened, what was got, what was expected and the
remedy.

EdgeError
├─ BundleError    a bundle or model file that is damaged, unsafe, or from another version
├─ BackendError   an engine, provider or precision that is absent or failed
└─ ImageError     an image that cannot be decoded
"""

from __future__ import annotations

SHOWN = 200  # characters of a wrong value that a message repeats


class EdgeError(Exception):
    """Base of every error the runtime raises on purpose.

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


class BundleError(EdgeError):
    """A bundle or model file that is damaged, unsafe, or from another version."""


class BackendError(EdgeError):
    """An engine, provider or precision that is absent or failed."""


class ImageError(EdgeError):
    """An image that cannot be decoded."""
