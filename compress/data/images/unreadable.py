"""The images that could not be read, and the words that say so when a build stops on them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from compress.data.artifact import DataArtifact
from runtime.files.paths import line

MOST_UNREADABLE = 0.5  # share of a test split beyond which something else is wrong
CHECK = "check that the images are complete and of a format that is read"


@dataclass
class Unreadable:
    """Collects ``{"key", "reason"}`` of each, in the order of reading."""

    artifact: DataArtifact
    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, key: str, reason: str) -> None:
        """Adds an image."""
        self.rows.append({"key": key, "reason": reason})

    def why(self, keys: Iterable[str]) -> str:
        """``commonest``, for an error: the list of all is written, and named."""
        self.artifact.write_skipped(self.rows)
        reason = self.commonest(keys)
        return line(f"{reason}; all: {self.artifact.skipped_file}") if reason else ""

    def commonest(self, keys: Iterable[str]) -> str:
        """The commonest reason among some images with its count and a file; "" if all are read."""
        asked = set(keys)
        rows = [row for row in self.rows if row["key"] in asked]
        kinds = Counter(map(_kind, rows))
        if not kinds:
            return ""
        kind, count = kinds.most_common(1)[0]
        first = next(row for row in rows if _kind(row) == kind)
        reason = first["reason"].replace("file ", "", 1).replace(" · ", ", ")
        return line(f"; {count} of {len(rows)}: {reason}, e.g. {first['key']}")


def _kind(row: dict[str, str]) -> str:
    """A reason without what differs between files of one fault."""
    return re.sub(r"[0-9][0-9.,x ]*", "0", row["reason"])
