"""The images below a folder as tables name them, and why a name leads to none."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compress.data.class_names import one_form
from compress.data.folders.split_names import split_kind
from compress.data.folders.tables.file_index import FileIndex, find
from compress.data.folders.tables.table import Table
from compress.data.folders.walk import key_of, takes_part, walk


@dataclass(frozen=True)
class Files:
    """The images below a folder, listed once they are asked for.

    Attributes:
        any_case: names are compared whatever their case; those that only it tells apart are none.
    """

    root: Path
    any_case: bool = False

    @cached_property
    def paths(self) -> list[Path]:
        return [path for path in walk(self.root) if takes_part(path, self.root)]

    @cached_property
    def in_any_case(self) -> Files:
        """The same, whatever the case of names."""
        return Files(self.root, True)

    @cached_property
    def _by_key(self) -> dict[str, Path]:
        keys = [self._form(key_of(path, self.root)) for path in self.paths]
        counts = Counter(keys)
        return {
            key: path
            for key, path in zip(keys, self.paths, strict=True)
            if counts[key] == 1 or not self.any_case
        }

    @cached_property
    def _indexes(self) -> dict[str, tuple[FileIndex, FileIndex]]:
        return {}

    def below(self, folder: Path) -> list[str]:
        """The names of the images below a folder, seen from there."""
        start = self._start(folder)
        return [key.removeprefix(start) for key in self._by_key if key.startswith(start)]

    def find(self, name: str, table: Table) -> Path | None:
        """The image of a name in a table: below its folder, the root, or by its last parts.

        A table in a split folder names no image of another split's folder.
        """
        start = self._start(table.path.parent)
        if start not in self._indexes:
            near = [key for key in self._by_key if key.startswith(start)]
            own = start.split("/")[0]
            others = [key for key in self._by_key if _may_name(own, key)] if own else []
            index = FileIndex(near)
            self._indexes[start] = index, FileIndex(others) if own else index
        key = find(self._form(name), start.rstrip("/"), *self._indexes[start])
        return None if key is None else self._by_key[key]

    def why_none(self, name: str, table: Table) -> str:
        """Why a name in a table leads to no image."""
        path = Path(os.path.normpath(table.path.parent / name.replace("\\", "/")))
        if os.path.isfile(path) and not path.is_relative_to(self.root):
            return f"{table.path.name} names it, and it lies outside of {self.root.name}/"
        return f"{table.path.name} names it, and there is no such image, or several"

    def _start(self, folder: Path) -> str:
        return "" if folder == self.root else self._form(f"{key_of(folder, self.root)}/")

    def _form(self, text: str) -> str:
        return one_form(text).casefold() if self.any_case else one_form(text)


def _may_name(own: str, key: str) -> bool:
    top, inside, _ = key.partition("/")
    return top == own or not inside or split_kind(top) is None
