"""What every source of images looks like: classes, a train split and a test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class ClassInfo:
    """One class.

    Attributes:
        name: what reports and labels call it, e.g. "water lily".
        prompt: what stands for it in a prompt template, usually the name.
        category: what kind of thing it is, e.g. "flower"; None if the classes have nothing in
            common.
    """

    name: str
    prompt: str
    category: str | None = None


@dataclass(frozen=True)
class Split:
    """Labeled images, none of them read before it is asked for.

    Attributes:
        labels: class number of each image, int64 (N,).
        keys: a name of each image that is unique within the source, e.g. "train/rose/1.jpg".
        load: gives image i as anything that ``runtime.decode`` reads (a path, bytes, an array, a
            PIL image).
        max_pixels: larger images are refused.
    """

    labels: np.ndarray
    keys: Sequence[str]
    load: Callable[[int], Any]
    max_pixels: int = 64_000_000

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        """The name of image ``index``."""
        return self.keys[index]

    def image(self, index: int) -> Image.Image:
        """Image ``index`` as upright RGB; raises whatever the decoder raises if it cannot be
        read.
        """
        from runtime.preprocess import decode

        return decode(self.load(index), max_pixels=self.max_pixels)

    def subset(self, indices: Sequence[int] | np.ndarray) -> Split:
        """The images named by ``indices``, in that order."""
        rows = [int(i) for i in indices]
        load = self.load
        return Split(
            self.labels[rows],
            tuple(self.keys[i] for i in rows),
            lambda i: load(rows[i]),
            self.max_pixels,
        )


def nothing() -> Split:
    """A split without images."""

    def load(index: int) -> Any:
        raise IndexError(f"an empty split has no image {index}")

    return Split(np.zeros(0, np.int64), (), load)


@dataclass(frozen=True)
class Source:
    """Classes and their images.

    Attributes:
        identity: gives what makes the source's content what it is, as {what: fingerprint}; may read
            every file.
        notes: what a person should know about how the source was read.
        domain: where ``train`` and ``test`` come from, in a dataset of several domains; None in
            every other.
        others: further test sets that the settings ask for, by domain; none of their images is in
            ``train``.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    train: Split
    test: Split
    identity: Callable[[], dict[str, str]]
    license: str = "not stated"
    notes: tuple[str, ...] = field(default=())
    domain: str | None = None
    others: Mapping[str, Split] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, by class number."""
        return tuple(entry.name for entry in self.classes)
