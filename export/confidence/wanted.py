"""The images of the classes that confidence is judged on: neither shots nor test images.

Labeled images that the run uses for nothing, where there are enough (compress/data/spare.py), as a
device would see them. Else the training images themselves, which the student knows by heart, so
that its logits are surer than on new ones: the temperature follows the teacher's answers, and the
threshold is set on the prototype score of each shot by the others, which no training has touched
where the trunk is frozen. With one shot a class, or none, views that no training has seen have to
do. What was used is told in the bundle's manifest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe, render_view, sampled, views_each
from compress.data.spare import spare_images
from compress.distill.pools import ViewPool
from compress.distill.pools import read_pools as read_views
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.evaluate.metrics import softmax
from compress.evaluate.temperature import smoothed
from compress.generate.artifact import GenerateArtifact
from compress.generate.strategies.table import STRATEGIES
from compress.label.artifact import LabelArtifact
from export.sensitivity.held_out import held_out_views

ENOUGH = 40  # labeled images; of fewer, one wrong answer moves a temperature too far
VIEWS = 256  # of training images, where there are too few labeled ones
PROTOTYPE_VIEWS = 4  # of a shot: as it is, and augmented;
ENOUGH_VIEWS = 128  # fewer of each where all shots together have as many as these
MOST_SHOTS = 512  # of all classes together

Pixels = NDArray[np.uint8]
LABELED = "labeled images that are neither shots nor test images"
HELD_OUT = "views of training images that no training has seen"
TEACHER = "the teacher's answers to views of training images"
LEFT_ONE_OUT = "shots, each by the prototypes of the others"


@dataclass(frozen=True)
class Wanted:
    """Images of the classes: ``pixels (N, S, S, 3)`` and ``labels (N,)``."""

    pixels: Pixels
    labels: NDArray[np.int64]
    source: str  # LABELED or HELD_OUT
    why: str = ""  # why there are no labeled ones


@dataclass(frozen=True)
class Targets:
    """What a temperature is fitted to: ``pixels (N, S, S, 3)`` and probabilities ``(N, K)``."""

    pixels: Pixels
    probabilities: NDArray[np.float64]
    source: str  # LABELED or TEACHER


def wanted_images(ctx: StageContext) -> Wanted | None:
    """The images, the same for the same run; None where nothing shows the classes."""
    spare = spare_images(ctx, ctx.settings.export.spare_images)
    if len(spare) >= ENOUGH:
        return Wanted(spare.pixels, spare.labels, LABELED)
    why = spare.why or f"only {len(spare)} labeled images are left, fewer than {ENOUGH}"
    if not shows_classes(ctx):
        return None
    views = held_out_views(ctx, VIEWS)
    return Wanted(views.pixels, views.labels, HELD_OUT, why)


def targets_of(ctx: StageContext, wanted: Wanted | None) -> Targets | None:
    """Labels of spare images, else the teacher's answers; None where it answered to no view."""
    if wanted is not None and wanted.source == LABELED:
        classes = len(DataArtifact(ctx.inputs["data"].path).classes)
        return Targets(wanted.pixels, smoothed(wanted.labels, classes), LABELED)
    pools = [pool for pool in read_views(ctx) if len(pool.members) and "logits" in pool.targets]
    if not pools:
        return None
    pixels: list[Pixels] = []
    logits: list[NDArray[np.float32]] = []
    for pool in pools:
        rows = _spread(pool, VIEWS // len(pools))
        answers = pool.target("logits", rows)
        assert answers is not None  # the pool has them
        pixels += [pool.view(int(row)) for row in rows]
        logits.append(answers.numpy())
    return Targets(np.stack(pixels), softmax(np.concatenate(logits)), TEACHER)


def _spread(pool: ViewPool, count: int) -> NDArray[np.int64]:
    """Flat indices of ``count`` views, spread evenly over the images that are kept."""
    places = np.unique(np.linspace(0, len(pool.members) - 1, count).astype(int))
    return np.asarray(pool.members[places], np.int64)


def shows_classes(ctx: StageContext) -> bool:
    """Whether any training image shows its class: drawings of nothing do not."""
    data = DataArtifact(ctx.inputs["data"].path)
    row = STRATEGIES.get(ctx.settings.generate.strategy)
    synthetic = GenerateArtifact(ctx.inputs["generate"].path).images
    return len(data.shots) > 0 or bool(len(synthetic) and (row is None or row.shows_classes))


@dataclass(frozen=True)
class PrototypeViews:
    """Views ``(N, S, S, 3)`` that prototypes are the means of, their classes and images ``(N,)``.

    The first view of an image is its center, as a device would see it.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    images: NDArray[np.int64]

    def has_several(self, classes: int) -> bool:
        """Whether every class has two images, so that one can be judged by the others."""
        pairs = np.unique(np.stack([self.labels, self.images]), axis=1)
        return bool((np.bincount(pairs[0], minlength=classes) >= 2).all())


def prototype_views(ctx: StageContext) -> PrototypeViews | None:
    """Views of the shots, else of the synthetic images; None without any."""
    if not shows_classes(ctx):
        return None
    shots = DataArtifact(ctx.inputs["data"].path).shots
    synthetic = GenerateArtifact(ctx.inputs["generate"].path)
    images, labels = shots.pixels, shots.labels
    if not len(shots):
        kept = np.flatnonzero(LabelArtifact(ctx.inputs["label"].path).keep)
        images, labels = synthetic.images[kept], synthetic.classes[kept]
    recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
    rows = sampled(labels, MOST_SHOTS, derive(ctx.seed, "prototype rows"))
    views = views_each(len(rows), PROTOTYPE_VIEWS, ENOUGH_VIEWS)
    pixels = [
        _center(image, recipe.size)
        if view == 0
        else render_view(image, recipe, derive(ctx.seed, "prototype", int(row), view))
        for row in rows
        for image in (np.asarray(images[row]),)
        for view in range(views)
    ]
    every = np.repeat(rows, views)
    return PrototypeViews(np.stack(pixels), labels[every], every)


def _center(image: Pixels, size: int) -> Pixels:
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + size, left : left + size])
