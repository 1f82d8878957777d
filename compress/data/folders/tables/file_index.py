"""Images found by what tables call them: a path, its last parts, or a name without its suffix."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from compress.data.class_names import one_form


class FileIndex:
    """Paths by their last parts: sorted when reversed, so that a search is O(log n).

    Args:
        keys: paths with ``/``, in one form of Unicode.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = frozenset(keys)
        ends = []
        for key in self.keys:
            *folders, name = key.split("/")
            ends += [(_reversed([*folders, one]), key) for one in {name, PurePosixPath(name).stem}]
        ends.sort()
        self._ends = [end for end, _ in ends]
        self._keys = [key for _, key in ends]

    def only(self, parts: Sequence[str]) -> str | None:
        """The single path that ends in these parts; None for none or several.

        The last part may lack its suffix.
        """
        wanted = _reversed(parts)
        start = bisect_left(self._ends, wanted)
        after = bisect_left(self._ends, wanted[:-1] + chr(ord("/") + 1))
        return self._keys[start] if after - start == 1 else None


def find(name: str, inside: str, near: FileIndex, all_files: FileIndex) -> str | None:
    """The path of a file as a table calls it, from whatever system.

    It is below the table's folder or the root, or the only path that ends so: the longest end
    first, among all files before those near the table. None: no such file, or several.

    Args:
        inside: the table's folder below the root, "" for the root.
        near: the files in the table's folder.
    """
    parts = [part for part in one_form(name).replace("\\", "/").split("/") if part != "."]
    if ".." in parts:
        path = posixpath.normpath("/".join((inside, *parts)) if inside else "/".join(parts))
        return path if path in all_files.keys else None
    if not parts:
        return None
    for key in ("/".join((*([inside] if inside else []), *parts)), "/".join(parts)):
        if key in all_files.keys:
            return key
    for start in range(len(parts)):
        for index in (all_files, near):
            if (found := index.only(parts[start:])) is not None:
                return found
    return None


def _reversed(parts: Sequence[str]) -> str:
    return "".join(f"{part}/" for part in reversed(parts))
