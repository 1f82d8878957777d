"""The photos of new classes: a folder of them, or a folder with one for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from runtime.bundle import label_fault
from runtime.errors import BundleError, ImageError
from runtime.files.paths import line, name_of
from runtime.preprocess import decode
from runtime.preprocess.image_files import images_below

SPLITS = frozenset({"train", "test", "val", "valid", "validation"})  # folders that are no class
MOST_PHOTOS = 512  # of a class: a mean does not get better, and a thousand take a minute


@dataclass(frozen=True)
class ClassFolder:
    """A class to be added."""

    name: str
    files: tuple[Path, ...]


def class_folders(folder: Path, name: str | None, known: Collection[str]) -> list[ClassFolder]:
    """The new classes in ``folder``: itself, or its subfolders.

    Args:
        name: of the one class; default: the folder's name. Subfolders have their own.
        known: the bundle's labels.

    Raises:
        ImageError: no folder, no photo, photos both in it and below, or a name for several classes.
        BundleError: a class that the bundle has already, or a name that is none.
    """
    shown = name_of(folder, on_a_line=True)
    if not folder.is_dir():
        expected = "a folder of photos, or one with a folder for each new class"
        raise ImageError(f"{shown} is no folder", expected=expected)
    files = images_below(folder)
    here = [file for file in files if file.parent == folder]
    below = sorted({file.relative_to(folder).parts[0] for file in files if file.parent != folder})
    if not files:
        raise ImageError(f"{shown} holds no image", expected="photos of a new class")
    if here and below:
        got = f"{len(here)} images, and the folder {line(below[0])!r}"
        remedy = "move the images into folders, or give one of the folders"
        raise ImageError(f"{shown} holds photos and folders of photos", got=got, remedy=remedy)
    if below and name is not None:
        got = f"{len(below)} folders, and the name {line(name)!r}"
        remedy = "leave the name out: each folder's is its class; or give one of the folders"
        raise ImageError("several classes have one name", got=got, remedy=remedy)
    if splits := [one for one in below if one.casefold() in SPLITS]:
        remedy = f"give {name_of(folder / splits[0], on_a_line=True)}"
        raise ImageError("splits are no classes", got=", ".join(splits), remedy=remedy)
    if here:
        found = [ClassFolder(name or folder.resolve().name, tuple(here))]
    else:
        of = {
            one: tuple(f for f in files if f.relative_to(folder).parts[0] == one) for one in below
        }
        found = [ClassFolder(one, of[one]) for one in below]
    for one in found:
        _require_new(one.name, known)
    return found


def _require_new(name: str, known: Collection[str]) -> None:
    if expected := label_fault(name):
        raise BundleError("name of the new class", got=repr(name)[:200], expected=expected)
    same = [label for label in known if label.casefold() == name.casefold()]
    if same:
        remedy = "choose another name; more photos of a class need a new build: compress build"
        raise BundleError("the bundle has this class already", got=repr(same[0]), remedy=remedy)


def decoded_photos(
    files: Collection[Path], refused: MutableMapping[str, str]
) -> Iterator[Image.Image]:
    """Decoded photos, each content once; ``refused`` takes the others: file -> why."""
    seen: set[bytes] = set()
    for file in files:
        if len(seen) == MOST_PHOTOS:
            refused[str(file)] = f"{MOST_PHOTOS} photos of a class are enough"
            return
        try:
            image = decode(file)
        except ImageError as error:
            refused[str(file)] = line(error)
            continue
        content = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
        if content in seen:
            refused[str(file)] = "the same image as another one"
            continue
        seen.add(content)
        yield image
