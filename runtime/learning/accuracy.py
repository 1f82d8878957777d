"""How many photos of a folder with a subfolder for each class a classifier names right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.classifier import BATCH, Classifier
from runtime.errors import ImageError
from runtime.files.paths import line, name_of
from runtime.preprocess.image_files import images_below


@dataclass(frozen=True)
class Hits:
    """Photos of some classes, and how many of them are named right."""

    right: int
    count: int

    def __add__(self, other: Hits) -> Hits:
        return Hits(self.right + other.right, self.count + other.count)

    @property
    def share(self) -> float:
        """Of the photos; NaN without any."""
        return self.right / self.count if self.count else float("nan")


def labeled_photos(folder: Path, labels: tuple[str, ...]) -> dict[str, list[Path]]:
    """Label -> the photos in the subfolder of its name.

    Raises: ImageError: no subfolder is called as a label is.
    """
    by_name = {label.casefold(): label for label in labels}
    found: dict[str, list[Path]] = {}
    if folder.is_dir():
        for place in sorted(one for one in folder.iterdir() if one.is_dir()):
            label = by_name.get(place.name.casefold())
            if label is not None and (files := images_below(place)):
                found[label] = files
    if not found:
        got = name_of(folder, on_a_line=True)
        expected = "subfolders with photos, called as the bundle's labels"
        raise ImageError("nothing to test on", got=got, expected=expected)
    return found


def hits(
    model: Classifier, photos: Mapping[str, list[Path]], refused: dict[str, str]
) -> dict[str, Hits]:
    """Label -> hits among its photos, of labels that the model may lack; those that cannot be read
    are in ``refused`` with their reason, and take no part.
    """
    out = {}
    for label, files in photos.items():
        pixels = []
        for file in files:
            try:
                pixels.append(model.pixels(file)[0])
            except ImageError as error:
                refused[str(file)] = line(error)
        index = model.labels.index(label) if label in model.labels else -1
        parts = (np.stack(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH))
        answers = [model.logits_u8(part).argmax(axis=1) for part in parts]
        right = sum(int((answer == index).sum()) for answer in answers)
        out[label] = Hits(right, len(pixels))
    return out
