"""Folders and labels of tables -> classes: matched by name over the splits, merged, renamed.

The label of a class is the name of its folder, in one form of Unicode. Folders whose names look the
same to a reader (``Blüte`` in NFC and NFD) are one class. Folders of one split that differ only in
case or signs are refused, since either could be a mistake; between splits they are matched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compress.data.class_names import (
    class_name,
    first_alike,
    look_alike,
    printable,
    readable_name,
    refuse_names,
    shown,
)
from compress.data.folders.class_list import ClassList
from compress.data.folders.layout import ClassFiles, Found
from compress.data.folders.words import words_of
from compress.data.split import ClassInfo, Renamed
from compress.engine.errors import DataError
from runtime.files.paths import line

MOST_SHOWN = 4  # examples in a note; summary.json has all
RENAME = "rename or merge them, or give both one name in classes.yaml"


@dataclass
class Named:
    """The images of a folder by label.

    Attributes:
        extra: label -> images of the test split whose class has no training folder.
        splits: images of each label in every split, also in those that are not used.
    """

    train: dict[str, tuple[Path, ...]]
    test: dict[str, tuple[Path, ...]] | None
    splits: dict[str, dict[str, int]]
    empty: dict[str, str]
    extra: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    renamed: list[Renamed] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)  # label -> the folder it is named after


def name_classes(found: Found, listed: ClassList, root: Path) -> Named:
    """Labels for all splits; test labels are those of the training folders that read the same.

    Raises: DataError: two folders of one split that read the same, or a name no bundle can hold.
    """
    if listed.file is not None:
        every = {name for files in found.splits.values() for name in files}
        listed.require_known({*every, *found.train})
    renamed: dict[Renamed, None] = {}
    folders: dict[str, str] = {}

    def labels(files: ClassFiles, train: Collection[str] = ()) -> dict[str, str]:
        """Folder -> label; of the same words as a label of ``train``, that."""
        given = {}
        own = {name: listed.of(name).name or class_name(printable(name)) for name in files}
        known = _of_same_words(own.values(), train)
        for name in files:
            entry = listed.of(name)
            label = known.get(own[name], own[name])
            given[name] = label
            folders.setdefault(label, name)
            if label != printable(name):
                why = "classes.yaml" if entry.name else "one form of a name"
                renamed.setdefault(Renamed(printable(name), label, why))
        by_label = {label: label for label in given.values()}
        refuse_names({name: label and readable_name(label) for name, label in given.items()}, root)
        if pair := first_alike({label: readable_name(label) for label in by_label}):
            what = f"two folders of {root} give the same class name {readable_name(pair[0])!r}"
            raise DataError(what, got=shown(*pair), remedy=RENAME)
        return given

    own = labels(found.train)
    of_split = {name: labels(files, own.values()) for name, files in found.splits.items()}
    train = _merged(found.train, own)
    test = None
    if found.test is not None:
        test = _merged(found.test, labels(found.test, own.values()))
    return Named(
        train,
        test,
        {
            split: {
                label: len(paths) for label, paths in _merged(found.splits[split], given).items()
            }
            for split, given in of_split.items()
        },
        {
            own.get(name, name): why
            for name, why in found.empty.items()
            if not train.get(own.get(name, name))
        },
        renamed=list(renamed),
        folders=folders,
    )


def class_infos(
    labels: Sequence[str], named: Named, listed: ClassList, category: str | None
) -> tuple[ClassInfo, ...]:
    """The classes with the words for their prompts."""
    folders = {label: printable(named.folders.get(label, label)) for label in labels}
    words = words_of(list(labels))
    infos = []
    for label in labels:
        entry = listed.of(folders[label])
        own = words[label]
        prompt = entry.prompt or (own.prompt if entry.name is None else readable_name(entry.name))
        synonyms = entry.synonyms or (own.synonyms if entry.prompt is None else ())
        infos.append(ClassInfo(label, prompt, category, synonyms))
    return tuple(infos)


def naming_notes(named: Named, classes: Iterable[ClassInfo]) -> list[str]:
    """What was merged, renamed and put into words, in a line each."""
    notes = []
    merged = [row for row in named.renamed if row.why != "classes.yaml"]
    if merged:
        pairs = (f"{ascii(row.folder)} as {row.name}" for row in merged[:MOST_SHOWN])
        notes.append(f"names in another form or spelling are one class: {', '.join(pairs)}")
    given = [f"{row.folder} as {row.name}" for row in named.renamed if row not in merged]
    if given:
        notes.append(f"classes.yaml renames {len(given)} folders: {', '.join(given[:MOST_SHOWN])}")
    entries = list(classes)
    read = [one for one in entries if one.prompt != one.name.replace("_", " ")]
    if read:
        pairs = (f"{one.name} as {one.prompt!r}" for one in read[:MOST_SHOWN])
        notes.append(f"prompts say {len(read)} names in words: {', '.join(pairs)}")
    counts = Counter(look_alike(one.prompt) for one in entries)
    same = [one.name for one in entries if counts[look_alike(one.prompt)] > 1]
    if same:
        notes.append(f"to a prompt these classes are the same: {', '.join(same[:8])}")
    return [line(note) for note in notes]


def _of_same_words(labels: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Label -> the known one that reads the same: ``Rose`` as rose, ``water-lily`` as water_lily.

    Names that only the rules of ``words.py`` make equal are matched where just one is on each side.
    """
    alike = {look_alike(readable_name(label)): label for label in known}
    found = {label: alike.get(look_alike(readable_name(label)), "") for label in labels}
    rest = [label for label, same in found.items() if not same]
    free = set(known) - set(found.values())
    if rest and free:
        own, others = _by_words(rest, found), _by_words(free, known)
        found |= {own[text]: others[text] for text in own.keys() & others.keys()}
    return {label: same for label, same in found.items() if same}


def _by_words(some: Iterable[str], labels: Collection[str]) -> dict[str, str]:
    """Words of a prompt -> the label among ``some`` that alone has them; all labels number it."""
    words = {label: look_alike(found.prompt) for label, found in words_of(list(labels)).items()}
    counts = Counter(words[label] for label in some)
    return {words[label]: label for label in some if counts[words[label]] == 1}


def _merged(files: ClassFiles, labels: Mapping[str, str]) -> dict[str, tuple[Path, ...]]:
    """The images of each label, of all its folders."""
    merged: dict[str, tuple[Path, ...]] = {}
    for name, paths in files.items():
        merged[labels[name]] = (*merged.get(labels[name], ()), *paths)
    return merged
