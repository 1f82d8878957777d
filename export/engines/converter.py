"""What converters of other projects have in common: how they fail."""

from __future__ import annotations

from pathlib import Path

from compress.engine.errors import ExportError

SHOWN = 300  # characters of a converter's own message


def refused(file: Path, said: object) -> ExportError:
    """The error of a converter, as ours: its message on one line, of a long one the end."""
    text = " ".join(str(said).split()) or type(said).__name__
    return ExportError(f"{file.name} cannot be converted", got=text[-SHOWN:])
