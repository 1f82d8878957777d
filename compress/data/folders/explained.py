"""What an error about the classes of a folder says besides: files that may be what is wrong.

A table under another name, labels in a text file or an archive beside the images are not read. They
are no fault where class folders are found, so that only errors name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from compress.data.folders.class_list import FILES
from compress.data.folders.tables.table import NAMES
from compress.data.folders.walk import key_of, walk
from compress.engine.errors import DataError
from runtime.files.paths import line

FOREIGN = (".7z", ".rar", ".zst")  # archives that are not read
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", *FOREIGN)
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".xml", ".xlsx", ".xls", ".ods", ".parquet")
NO_TABLES = ("readme", "license", "licence", "requirements", "notes")  # how their names start
MOST_FILES = 100_000  # that are looked at
UNREAD = "not unpacked"
UNPACK = "unpack the archives, or give one archive of all classes"
TABLE = "a table of labels is labels.csv or metadata.csv, with columns such as file_name,label"


@contextmanager
def explained(root: Path, unused: Sequence[str], given: Path, start: Path) -> Iterator[None]:
    """Adds to a DataError what takes no part below ``root``, and calls an archive by its name.

    Args:
        unused: which tables take no part, and why.
        given: the folder or archive that a person named.
        start: where its files lie, another place for an archive.
    """
    try:
        yield
    except DataError as error:
        hints = dict.fromkeys(unused, TABLE) | _not_read(root)
        got = "; ".join(str(part) for part in (error.got, *hints) if part is not None) or None
        remedy = error.remedy or "; ".join(dict.fromkeys(hints.values())) or None
        parts = (error.what, got, error.expected, remedy)
        what, got, expected, remedy = (_named(part, given, start) for part in parts)
        raise DataError(str(what), got=got, expected=expected, remedy=remedy) from error


def _named(text: object, given: Path, start: Path) -> str | None:
    """A part of an error, with the archive in place of the folder that it is unpacked into."""
    if text is None or given == start:
        return None if text is None else str(text)
    return str(text).replace(str(start), str(given))


def _not_read(root: Path) -> dict[str, str]:
    """What looks like a table or an archive and takes no part -> what can be done."""
    files: list[Path] = []
    with suppress(DataError):  # a loop of links: the error itself says it
        files += islice(walk(root), MOST_FILES)
    tables = [path for path in files if _is_table(path)]
    packed = [path for path in files if path.suffix.lower() in ARCHIVES]
    found = {}
    for paths, what, remedy in ((tables, "not read as labels", TABLE), (packed, UNREAD, UNPACK)):
        if paths:
            more = f" and {len(paths) - 1} more" if paths[1:] else ""
            found[line(f"{key_of(paths[0], root)}{more} {what}")] = remedy
    return found


def _is_table(path: Path) -> bool:
    name = path.name.casefold()
    known = name in NAMES or name in FILES
    return path.suffix.lower() in TABLES and not known and not name.startswith(NO_TABLES)
