"""How long and on what a student trains, by the settings alone; imports no torch."""

from __future__ import annotations

import math

from compress.engine.config import DistillSettings


def steps_for(settings: DistillSettings, images: int) -> int:
    """Number of updates: ``steps``, or those of ``epochs`` passes over the images."""
    if settings.epochs is None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * images / settings.batch))


def has_feature_steps(settings: DistillSettings) -> bool:
    """Whether a run begins with feature distillation."""
    share = settings.feature_share
    return bool(settings.feature_steps if share is None else share)


def feature_steps_for(settings: DistillSettings, steps: int) -> int:
    """The first of ``steps`` that are feature distillation, by their number or their share."""
    share = settings.feature_share
    return settings.feature_steps if share is None else round(share * steps)


def stays_frozen(settings: DistillSettings) -> bool:
    """Whether no update of a run moves the trunk."""
    return settings.train == "head" and not has_feature_steps(settings)


def parts_of_batch(settings: DistillSettings, real: bool, synthetic: bool) -> tuple[int, int]:
    """Real and synthetic images of a batch, by which of them there are."""
    share = settings.real_fraction if real and synthetic else float(real)
    count = round(settings.batch * share)
    return count, settings.batch - count
