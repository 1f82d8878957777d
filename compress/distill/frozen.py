"""A frozen trunk: its features of every view, computed once, and a head that trains on them.

With ``distill.train=head`` and no feature phase no update moves the trunk: a step needs no image.
The head starts as the rows that the student's own network has for the names of the classes, if it
knows them all, else as the discriminant of the views. It trains on features without their common
part, at unit scale: gradient descent on raw features of an ImageNet network is badly conditioned.
Center and scale are folded into the head afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import runtime
from compress.data.split import ClassInfo
from compress.distill.pools import ViewPool
from compress.distill.students import Student
from compress.engine.config import DistillSettings
from compress.engine.frozen import frozen_network
from compress.engine.packages import installed, packaged_classifier
from compress.engine.partial import kept as kept_file
from compress.engine.stage import StageContext
from compress.teacher.discriminant import RIDGE, Fit, Views, best_fit, discriminant
from compress.teacher.named import Known, known_names
from compress.teacher.sources import TimmNet
from compress.teacher.timm_net import label_set

CHUNK = 128  # views of a part that survives a kill
START_SCALE = 10.0  # of the first head's rows where no shots can be left out to find a better one


@dataclass(frozen=True)
class Space:
    """Where a head trains: features less ``center (F,)``, divided by ``scale``."""

    center: Tensor
    scale: float

    @classmethod
    def of(cls, features: Tensor) -> Space:
        """The space of features ``(N, F)``: around their mean, at mean length one."""
        center = features.mean(0)
        return cls(center, float((features - center).norm(dim=1).mean().clamp(min=1e-6)))

    def enter(self, features: Tensor) -> Tensor:
        """Features ``(B, F)`` in the space."""
        return (features - self.center.to(features.device)) / self.scale

    def leave(self, head: nn.Linear) -> None:
        """Folds the space into a head that was trained in it."""
        with torch.no_grad():
            head.weight.div_(self.scale)
            head.bias.sub_(head.weight @ self.center)


def pooled_features(
    ctx: StageContext, student: Student, pool: ViewPool, preprocess: runtime.PreprocessSpec
) -> Tensor:
    """The trunk's features ``(N * V, F)`` of every view of a pool, part by part."""
    total = len(pool.images) * pool.views
    spans = [range(at, min(at + CHUNK, total)) for at in range(0, total, CHUNK)]
    files = [ctx.partial / f"trunk_{pool.kind}_{span.start:07d}.safetensors" for span in spans]
    todo = [(file, span) for file, span in zip(files, spans, strict=True) if not file.exists()]
    done = total - sum(len(span) for _, span in todo)
    trunk = student.trunk.eval()
    # asked with the total: a resumed stage computes as the killed one did
    fast = frozen_network(trunk, preprocess.size, total, ctx.host.device) if todo else None
    trunk.to(ctx.host.device)
    with (
        ThreadPoolExecutor(ctx.host.workers) as threads,
        ctx.progress.task(f"features {pool.kind}", total=total, unit="view", done=done) as task,
    ):
        for file, span in todo:
            views = np.stack(list(threads.map(pool.view, span)))
            pixels = runtime.normalize(views, preprocess)
            if fast is not None:
                rows = torch.from_numpy(fast(pixels))
            else:
                inputs = torch.from_numpy(pixels).to(ctx.host.device)
                with torch.inference_mode():
                    rows = trunk(inputs.contiguous(memory_format=torch.channels_last)).float().cpu()
            with kept_file(file) as temporary:
                save_file({"pooled": rows.contiguous()}, temporary)
            task.advance(len(span))
    parts = [load_file(file)["pooled"] for file in files]
    return torch.cat(parts) if parts else torch.empty(0, student.width)


def start_head(
    settings: DistillSettings,
    student: Student,
    space: Space,
    features: Tensor,
    labels: NDArray[np.int64],
    images: NDArray[np.int64],
    classes: Sequence[ClassInfo],
    kept: Path | None,
) -> str:
    """Sets a linear head to rows that the student's own network has, or to the discriminant.

    Args:
        space: where the head trains.
        features: ``(N, F)`` of the views, as the trunk gives them, of classes ``labels (N,)`` and
            of ``images (N,)``.
        classes: if the network that the trunk is of knows all their names, its rows are the head;
            of those that it knows else, a row counts as one image.
        kept: the folder of converted weights.

    Returns: "names" or "discriminant".
    """
    head = student.head
    own = own_classifier(settings, student.spec.arch, classes, kept)
    with torch.no_grad():
        if own is not None and own.known.complete:
            weight, bias = own.rows
            head.weight.copy_(space.scale * weight)
            head.bias.copy_(bias + weight @ space.center)
            return "names"
        inside = Views(space.enter(features).numpy(), labels, images, head.out_features)
        known = None if own is None else own.known.directions(own.weight.numpy())
        fit = best_fit(inside, known) or Fit(RIDGE, START_SCALE)
        rows = torch.from_numpy(discriminant(inside, known, fit.ridge))
        head.weight.copy_(fit.scale * rows)
        head.bias.zero_()
    return "discriminant"


@dataclass(frozen=True)
class OwnClassifier:
    """What a student's own network was trained to name: weight ``(C, F)``, bias ``(C,)``."""

    weight: Tensor
    bias: Tensor
    known: Known

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the run's classes, if all are known."""
        return self.weight[list(self.known.indices)], self.bias[list(self.known.indices)]


def own_classifier(
    settings: DistillSettings, arch: str, classes: Sequence[ClassInfo], kept: Path | None
) -> OwnClassifier | None:
    """That of a packaged network which knows some of the names; None for others.

    A trunk with other weights, from ``init_path`` for instance, has no use for it.

    Args:
        kept: the folder of converted weights.
    """
    has_its_weights = settings.init == "timm" and settings.init_path is None
    if not has_its_weights or settings.activation is not None or installed(arch) is None:
        return None
    known = known_names(label_set(TimmNet(arch)), classes)
    if not known.mask.any():
        return None
    return OwnClassifier(*packaged_classifier(arch, kept), known)
