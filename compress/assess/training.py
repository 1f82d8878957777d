"""The images that a bundle's build was trained on, where the bundle still lies in its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from compress.data.artifact import DataArtifact
from compress.data.images.reading import digest_of
from compress.engine.runs import RunFolder
from runtime.preprocess import Geometry, geometry


@dataclass(frozen=True)
class TrainingImages:
    """Digests of all shots, and the geometry that they were taken in."""

    digests: frozenset[bytes]
    spec: Geometry

    def has(self, image: Image.Image) -> bool:
        """Whether an image has the pixels of a shot."""
        return digest_of(geometry(image, self.spec)) in self.digests

    def among(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Which images have the pixels of a shot, bool ``(n,)``."""
        return np.fromiter(map(self.has, images), bool, len(images))


def training_images(bundle: Path, interpolation: str) -> TrainingImages | None:
    """The shots of a bundle's build; None where its run or its data are not there.

    Args:
        interpolation: of the bundle's preprocessing, which is that of its shots.
    """
    folder = bundle.parent
    if RunFolder(folder).bundle != bundle:
        return None
    stage = RunFolder(folder).stages().get("data")
    try:
        shots = DataArtifact(stage).shots.pixels if stage else np.empty((0, 1, 1, 3), np.uint8)
    except (OSError, ValueError, KeyError):  # damaged or cleaned: verify --store tells
        return None
    if not len(shots):
        return None
    edge = int(shots.shape[1])
    return TrainingImages(frozenset(map(digest_of, shots)), Geometry(edge, edge, interpolation))
