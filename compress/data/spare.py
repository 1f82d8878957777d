"""Labeled images that a run uses for nothing: in the training split, and no shots.

No student learned from them and no accuracy is counted on them, so they may set what must not be
set on either: how far confidences are to be trusted, and below which score an image shows no class.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import DataArtifact
from compress.data.geometry import eval_geometry
from compress.data.shots import class_orders
from compress.data.sources import open_source
from compress.data.split import Split
from compress.engine.errors import DataError, DownloadError
from compress.engine.stage import StageContext
from runtime.errors import ImageError
from runtime.preprocess import Geometry, geometry

PURPOSE = "spare"
STEP = 8  # every eighth pixel tells whether two images are the same


@dataclass(frozen=True)
class SpareImages:
    """Spare images in the student's geometry, and why there are none, if so."""

    pixels: NDArray[np.uint8]  # (N, S, S, 3)
    labels: NDArray[np.int64]  # (N,)
    why: str = ""

    def __len__(self) -> int:
        return len(self.labels)


def spare_images(ctx: StageContext, most: int) -> SpareImages:
    """Up to ``most`` spare images, of each class as many as of the others; none is in a test set.

    The same settings and seed give the same images. Those that cannot be read are left out, and
    those that a run leaves out because they look like test images.
    """
    shape = eval_geometry(ctx.settings.image)
    empty = np.zeros((0, shape.size, shape.size, 3), np.uint8), np.zeros(0, np.int64)
    if not most:
        return SpareImages(*empty, "export.spare_images is 0")
    data = DataArtifact(ctx.inputs["data"].path)
    try:
        source = open_source(ctx.settings.data)
    except (DataError, DownloadError) as error:
        return SpareImages(*empty, f"the source of the images is gone: {error.what}")
    if source.names != tuple(entry.name for entry in data.classes):
        return SpareImages(*empty, "the source has other classes by now")
    summary = data.summary
    taken = {*data.shots.keys, *(summary.not_used if summary is not None else ())}
    tests = data.test_sets
    taken.update(key for images in tests for key in images.keys)
    train = source.train
    free = train.subset([row for row, key in enumerate(train.keys) if key not in taken])
    each = -(-most // max(1, len(source.classes)))
    orders = class_orders(free, source.names, ctx.seed, PURPOSE)
    turns = [order[place] for place in range(each) for order in orders if place < len(order)]
    chosen = free.subset(turns[:most])
    with ThreadPoolExecutor(ctx.host.workers) as threads:
        read = list(threads.map(lambda row: _read(chosen, row, shape), range(len(chosen))))
    seen = {_look(np.asarray(image)) for images in tests for image in images.pixels}
    rows = [row for row, image in enumerate(read) if image is not None and _look(image) not in seen]
    if not rows:
        return SpareImages(*empty, "every labeled image is a shot or a test image")
    pixels = [image for row in rows if (image := read[row]) is not None]
    return SpareImages(np.stack(pixels), chosen.labels[rows])


def _read(split: Split, row: int, shape: Geometry) -> NDArray[np.uint8] | None:
    try:
        return geometry(split.read(row)[0], shape)
    except ImageError:
        return None


def _look(image: NDArray[np.uint8]) -> bytes:
    return image[::STEP, ::STEP].tobytes()
