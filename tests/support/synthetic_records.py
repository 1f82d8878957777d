"""Records of synthetic images, for tests that look at few of their fields."""

from __future__ import annotations

from pathlib import Path

from compress.generate.artifact import RECORDS, SyntheticRecord

PLAIN = SyntheticRecord("image_only", 0, "sidclip", 0, "test")


def write_records(folder: Path, rows: list[SyntheticRecord]) -> None:
    """The records of a generate stage."""
    (folder / RECORDS).write_text("".join(f"{row.line()}\n" for row in rows))
