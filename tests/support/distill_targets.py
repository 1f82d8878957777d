"""A batch of student outputs and teacher targets for the tests of terms and objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from compress.distill.batches import Batch
from compress.distill.first_weights import initialize
from compress.distill.pools import FeatureRows
from compress.distill.students import Outputs, Student, spec_for
from compress.distill.terms import ObjectiveInputs
from compress.engine.config import DistillSettings, ImageSettings

_RNG = torch.Generator().manual_seed(0)


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_RNG)


WIDTH, DIM, CLASSES = 7, 16, 5
STUDENT, TEACHER = _normal(6, CLASSES), _normal(6, CLASSES) * 3
POOLED, FEATURES = _normal(6, WIDTH), F.normalize(_normal(6, DIM), dim=-1)
LABELS = torch.arange(6) % CLASSES
REAL = torch.tensor([True, True, True, False, False, False])
IMAGE = ImageSettings(size=32, crop_pct=1.0)
TEXTS = F.normalize(_normal(CLASSES, DIM), dim=-1)


def batch(**changes: Any) -> Batch:
    return replace(
        Batch(torch.zeros(6, 3, 4, 4), TEACHER, FEATURES, LABELS, REAL, conditions=FEATURES),
        **changes,
    )


def out(pooled: Tensor = POOLED, features: Tensor | None = None) -> Outputs:
    return Outputs(pooled, STUDENT, features)


def inputs(**settings: Any) -> ObjectiveInputs:
    gendd = {"token_dim": 8, "width": 16, "depth": 1, "repeats": 2}
    has = frozenset(("logits", "features", "conditions"))
    return ObjectiveInputs(
        DistillSettings(**{"gendd": gendd, **settings}),
        WIDTH,
        TEXTS,
        TEXTS,
        20.0,
        TEXTS,
        (FeatureRows(FEATURES, LABELS, 1.0),),
        condition_dim=DIM,
        has=has,  # type: ignore[arg-type]
        classifier=torch.nn.Linear(WIDTH, CLASSES),
    )


def new_student(
    arch: str = "resnet18", init: str = "random", text: torch.Tensor | None = None, **more: object
) -> Student:
    """A new student of 32 px images with the first weights of ``init``."""
    settings = DistillSettings(student=arch, init=init, **more)  # type: ignore[arg-type]
    text = torch.randn(5, 128) if text is None else text
    torch.manual_seed(0)
    return initialize(settings, spec_for(settings, IMAGE, len(text), text.shape[1]), text)
