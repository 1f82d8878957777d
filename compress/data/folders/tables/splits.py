"""Which splits the images of tables are of, and the split folders that no table labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from compress.data.class_names import look_alike, readable_name
from compress.data.folders.class_list import ClassList
from compress.data.folders.layout import Found, class_dirs
from compress.data.folders.split_names import plain, split_kind
from compress.data.folders.walk import visible
from runtime.files.paths import line

Labels = Mapping[Path, tuple[str, str]]  # image -> its label and its split, "" for none


def splits_beside(labels: Labels, listed: ClassList, found: Found, root: Path) -> dict[str, Path]:
    """The split folders whose class folders are labels, and that no table names an image of.

    Those that a table has a split for are none. A note names one whose folders are no labels.
    """
    named = {top_of(path, root) for path in labels}
    own = {split for _, split in labels.values()}
    splits = {plain(split) for split in (own if any(own) else named)}
    kinds = {split_kind(split) or "train" for split in splits}
    known = {_key(label, listed) for label in {label for label, _ in labels.values()}}
    beside = {}
    for entry in visible(root):
        folder = Path(entry.path)
        kind = split_kind(folder.name)
        if not entry.is_dir() or kind is None or folder.name in named:
            continue
        if kind in kinds if kind == "train" else plain(folder.name) in splits:
            continue
        classes = _folders_below(folder)
        if known & {_key(path.name, listed) for path in classes}:
            beside[folder.name] = folder
        elif classes:
            got = ", ".join(path.name for path in classes[:4])
            note = f"{folder.name}/ is left out: its folders ({got}) are no labels of a table; "
            found.notes.append(line(f"{note}classes.yaml can give them the same names"))
    return beside


def with_splits(labels: Labels, beside: Iterable[str], found: Found, root: Path) -> Labels:
    """Images of a table without splits are of the folder train/ or test/ that they lie in."""
    if any(split for _, split in labels.values()):
        return labels
    tops = {top_of(path, root) for path in labels}
    splits = {name for name in tops if split_kind(name)}
    if {split_kind(name) for name in {*splits, *beside}} != {"train", "test"}:
        return labels
    if splits:
        shown = ", ".join(f"{name}/" for name in sorted(splits))
        found.notes.append(line(f"the table has no splits: they are the folders {shown}"))
    return {
        path: (label, top if (top := top_of(path, root)) in splits else "")
        for path, (label, _) in labels.items()
    }


def _folders_below(folder: Path) -> list[Path]:
    """The class folders in a folder, and those in them."""
    outer = class_dirs(folder)
    return [*outer, *(inner for path in outer for inner in class_dirs(path))]


def _key(name: str, listed: ClassList) -> str:
    return look_alike(readable_name(listed.of(name).name or name))


def top_of(path: Path, root: Path) -> str:
    """The outermost folder that an image lies in; "" for the root."""
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""
