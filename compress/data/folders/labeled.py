"""The labeled images of a folder for a model that exists: nothing is drawn or held out.

Any layout that a build reads. Unlike a build it takes a single class, and all images of a folder
without a test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.data.folders.levels import Level
from compress.data.folders.naming import class_infos, name_classes
from compress.data.folders.source import read_folder, split_files
from compress.data.folders.split_names import plain, split_kind
from compress.data.split import ClassInfo, Split
from compress.engine.config import DataSettings
from compress.engine.errors import DataError, require_known

MAX_PIXELS: int = DataSettings.model_fields["max_pixels"].default


@dataclass(frozen=True)
class Labeled:
    """Classes and their images.

    Attributes:
        split: the split that the images are of; "" for a folder without splits.
        others: further split -> its images, which take no part.
        missing: ``key`` and ``reason`` of images that a table names and that are not there.
        left_out: files that are no images of a class, and folders that are no class.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    images: Split
    split: str
    others: Mapping[str, int]
    missing: Sequence[Mapping[str, str]]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def labeled_images(
    path: Path, archives: Path, level: Level = "top", split: str | None = None, above: bool = False
) -> Labeled:
    """The test images of a folder or an archive, all images if there is no test split.

    Args:
        archives: where an archive is unpacked.
        level: which of nested folders are the classes.
        split: takes this one instead, by its own name.
        above: a single folder with folders in it is a class, not a folder of classes.

    Raises: DataError: nothing that can be read as classes of images, or no such split.
    """
    folder = read_folder(path, level, archives, above)
    found = folder.found
    if split is not None:
        split = next((one for one in found.splits if plain(one) == plain(split)), split)
        require_known(split, found.splits, f"{folder.root} has no such split", DataError)
        name = split
    else:
        whole = [one for one in found.splits if split_kind(one) != "test"]
        name = found.test_name if found.test is not None else (whole[0] if len(whole) == 1 else "")
    files = found.splits.get(name, found.train)
    with folder.explained():
        named = name_classes(replace(found, train=files, test=None), folder.listed, folder.root)
        labels = sorted(named.train)
        infos = class_infos(labels, named, folder.listed, None)
    return Labeled(
        folder.name,
        infos,
        split_files(folder.root, named.train, labels, MAX_PIXELS),
        name if len(found.splits) > 1 or split_kind(name) == "test" else "",
        {one: _count(there) for one, there in found.splits.items() if name and one != name},
        tuple(found.skipped),
        folder.left_out,
        (*folder.notes, *(found.notes if split is None else ())),
    )


def _count(files: Mapping[str, Sequence[Path]]) -> int:
    return sum(map(len, files.values()))
