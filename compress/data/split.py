"""What every source of images gives: classes, a train split and a test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from compress.data.images.repair import mended
from compress.engine.errors import DataError
from runtime.errors import ImageError
from runtime.preprocess import decode


@dataclass(frozen=True)
class ClassInfo:
    """One class."""

    name: str  # as in reports and labels: of a folder of images its folder, e.g. "water_lily"
    prompt: str  # fills the place of the class in a prompt template: its words, "water lily"
    category: str | None = None  # what kind of thing it is, e.g. "flower"
    synonyms: tuple[str, ...] = ()  # other words for it, e.g. of WordNet


@dataclass(frozen=True)
class Split:
    """Labeled images, each read only when it is used.

    Attributes:
        labels: class number of each image, int64 (N,).
        keys: a name of each image that is unique within the source, e.g. "train/rose/1.jpg".
        load: gives image i as anything that ``runtime.decode`` reads.
        max_pixels: larger images are refused.
    """

    labels: np.ndarray
    keys: Sequence[str]
    load: Callable[[int], Any]
    max_pixels: int = 64_000_000

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        """Image ``index`` as upright RGB, as a device sees it; ImageError if it is none."""
        return decode(self.load(index), max_pixels=self.max_pixels)

    def read(self, index: int) -> tuple[Image.Image, str | None]:
        """Image ``index`` for training: mended, and what was wrong, if anything; else ``image``."""
        try:
            return self.image(index), None
        except ImageError:
            where = self.load(index)
            whole = mended(where, self.max_pixels) if isinstance(where, Path) else None
            if whole is None:
                raise
        return decode(whole[0], max_pixels=self.max_pixels), whole[1]

    def subset(self, indices: Sequence[int] | np.ndarray) -> Split:
        """The images at ``indices``, in that order."""
        rows = [int(i) for i in indices]
        keys = tuple(self.keys[i] for i in rows)
        return Split(self.labels[rows], keys, lambda i: self.load(rows[i]), self.max_pixels)


def joined(first: Split, second: Split) -> Split:
    """The images of one split, then those of another of the same source."""
    count = len(first)
    return Split(
        np.concatenate([first.labels, second.labels]),
        (*first.keys, *second.keys),
        lambda i: first.load(i) if i < count else second.load(i - count),
        first.max_pixels,
    )


def nothing() -> Split:
    """A split without images."""
    return Split(np.zeros(0, np.int64), (), ().__getitem__)


@dataclass(frozen=True)
class Renamed:
    """A folder whose class has another name, and where that is from."""

    folder: str
    name: str
    why: str


@dataclass(frozen=True)
class FolderFacts:
    """What a folder of images holds beside the images of ``train`` and ``test``.

    Attributes:
        counts: split -> class -> images, of all splits that lie there, used or not.
        empty: class -> what lies in its folder, of classes without a training image.
        unknown: class -> test images that are not used, since no training folder has its name.
        missing: ``key`` and ``reason`` of images that a table names and that are not there.
        left_out: files that are no images of a class, and folders that are no class.
        held_out: whether the test images are a part of one folder.
    """

    counts: Mapping[str, Mapping[str, int]]
    empty: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    missing: Sequence[Mapping[str, str]] = ()
    left_out: Sequence[str] = ()
    renamed: Sequence[Renamed] = ()
    held_out: bool = False


@dataclass(frozen=True)
class Source:
    """Classes and their images.

    Attributes:
        identity: gives the fingerprints of the source's content by name; may read every file.
        notes: what a person should know about how the source was read.
        domain: where ``train`` and ``test`` come from; None in a dataset of one domain.
        others: further test sets of the settings, by domain; none of their images is in ``train``.
        last_change: says what changed last, for a source of files that can change at any time.
        facts: what else lies in a folder of images; None for any other source.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    train: Split
    test: Split
    identity: Callable[[], dict[str, str]]
    license: str = "not stated"
    notes: tuple[str, ...] = ()
    domain: str | None = None
    others: Mapping[str, Split] = field(default_factory=dict)
    last_change: Callable[[], str] | None = None
    facts: FolderFacts | None = None

    @property
    def empty(self) -> Mapping[str, str]:
        """The classes of a folder that have no training image, and what lies there."""
        return self.facts.empty if self.facts is not None else {}

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, by class number."""
        return tuple(entry.name for entry in self.classes)

    def refuse_changes(self, fingerprints: Mapping[str, str]) -> None:
        """Raises DataError if files are no longer those of ``fingerprints``, an ``identity``."""
        if self.last_change is None or not fingerprints or self.identity() == fingerprints:
            return
        raise DataError(
            "the images changed while they were used",
            got=f"last {self.last_change()}",
            expected="the files that the build started with",
            remedy="repeat the command once nothing writes to the folder",
        )
