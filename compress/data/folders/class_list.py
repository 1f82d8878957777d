"""``classes.yaml`` beside the images: what the classes are called, where folders say it badly.

    n01440764: tench                 # folder (or label of a table) -> name
    rosa_canina:
      name: dog rose                 # the label; default: the folder's name
      prompt: dog rose, a wild rose  # what a prompt says; default: the name as words
      synonyms: [sweet briar]

Folders that get one name are one class. Folders that the list does not name stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.data.class_names import class_name, look_alike, refuse_names, shown
from compress.engine.errors import DataError, nearest
from compress.engine.store import sha256_text
from compress.engine.text import read_text
from compress.engine.yaml_text import parse_yaml

FILES = ("classes.yaml", "classes.yml")
FIELDS = frozenset(("name", "prompt", "synonyms"))
EXPECTED = "folder: name, or folder: {name, prompt, synonyms}"


@dataclass(frozen=True)
class ClassEntry:
    """What the list says of a folder; None and () where it says nothing."""

    name: str | None = None
    prompt: str | None = None
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassList:
    """The entries of a list by folder, and the digest of its text; empty without a file."""

    file: Path | None = None
    entries: Mapping[str, ClassEntry] = field(default_factory=dict)
    digest: str | None = None

    def of(self, folder: str) -> ClassEntry:
        """The entry of a folder, whatever its case and form of Unicode."""
        return self.entries.get(look_alike(folder), ClassEntry())

    def require_known(self, folders: Collection[str]) -> None:
        """Raises DataError for an entry that is about no folder."""
        there = {look_alike(folder) for folder in folders}
        for folder in self.entries:
            if folder not in there:
                what = f"{self.file} names a class that has no folder or label"
                remedy = f"{nearest(folder, folders)}; an empty folder declares a class"
                raise DataError(what, got=repr(folder), remedy=remedy)


def read_class_list(root: Path) -> ClassList:
    """The class list of a folder of images.

    Raises: DataError: it cannot be read, or says something else than names.
    """
    file = next((root / name for name in FILES if (root / name).is_file()), None)
    if file is None:
        return ClassList()
    text = read_text(file, DataError)
    try:
        content = parse_yaml(text, as_text=True)
    except ValueError as error:
        raise DataError(f"{file} cannot be read as YAML", got=error) from error
    if not isinstance(content, dict) or not content:
        got = type(content).__name__ if content else "nothing"
        raise DataError(f"{file} is no list of classes", got=got, expected=EXPECTED)
    entries = _entries(content, file)
    refuse_names({entry.name: entry.name for entry in entries.values() if entry.name}, file)
    return ClassList(file, entries, sha256_text(text))


def _entries(content: Mapping[Any, Any], file: Path) -> dict[str, ClassEntry]:
    """The entries by folder; folders that look alike may be named together, if they agree."""
    entries: dict[str, ClassEntry] = {}
    spelled: dict[str, str] = {}
    for key, value in content.items():
        folder, entry = _key(key, file), _entry(value, key, file)
        if entries.setdefault(folder, entry) != entry:
            raise DataError(
                f"{file} says two things of folders that differ in case or signs only",
                got=shown(spelled[folder], key),
                remedy="write one entry, or rename one of the folders",
            )
        spelled[folder] = key
    return entries


def _key(key: Any, file: Path) -> str:
    if not isinstance(key, str) or not class_name(key):
        raise DataError(f"{file} has an odd key", got=repr(key), expected="the name of a folder")
    return look_alike(key)


def _entry(value: Any, key: str, file: Path) -> ClassEntry:
    if isinstance(value, str):
        return ClassEntry(_text(value, key, file))
    if not isinstance(value, dict) or not value or not set(value) <= FIELDS:
        got = f"{key}: {value!r}"[:120]
        raise DataError(f"{file} has an entry that is no class", got=got, expected=EXPECTED)
    synonyms = value.get("synonyms", [])
    if isinstance(synonyms, str):
        synonyms = synonyms.split(",")
    if not isinstance(synonyms, list):
        got = f"{key}: synonyms: {synonyms!r}"[:120]
        raise DataError(f"{file} has synonyms that are no list", got=got, expected="a list")
    name, prompt = (
        _text(value[part], key, file) if part in value else None for part in ("name", "prompt")
    )
    return ClassEntry(name, prompt, tuple(_text(one, key, file) for one in synonyms))


def _text(value: Any, key: str, file: Path) -> str:
    text = class_name(value) if isinstance(value, str) else ""
    if not text:
        got = f"{key}: {value!r}"[:120]
        raise DataError(f"{file} has an empty or odd name", got=got, expected=EXPECTED)
    return text
