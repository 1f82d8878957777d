"""The linear probe: the text head, fine-tuned on augmented views of the shots.

SIDCLIP fine-tunes the teacher's head on the k shots before distillation and freezes it. The probe
has to start from the text embeddings: with one shot per class a randomly initialized probe is far
below zero-shot, while SIDCLIP's 1-shot teacher is above it (its table 1).

The probe minimizes, over views with features ``f`` (unit rows) and rows ``w`` of the head,

    mean CE(softmax(scale * f @ u(w).T), y)
    + anchor * mean over classes c of a_c * |u(w_c) - t_c|^2

The second term is the class-adaptive anchor of CLAP (arXiv 2312.12730): ``t_c`` is the class's text
embedding and ``a_c`` the probability that zero-shot gives to class c on its own shots. A class that
the text explains well stays in place, others are free to move, and neither needs a validation set.

CLAP's equation sums over the classes, which pulls K times as hard, and grows with K against a cross
entropy that does not; its authors' code takes the mean (``zero_shot_constraint``). So does the
default here, ``teacher.probe_anchor=mean``; ``sum`` is the equation. On petals (K = 32, about 2,000
training pictures that are no shots, five seeds; zero-shot 72.5 %) the mean reaches 92.2 % with one
shot and 96.5 % with four, the sum 90.8 % and 94.1 %: 1.3 points less (95 % interval over seeds
-1.0 to 3.6), and 2.3 (1.4 to 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from compress.data.augment import ViewRecipe, submit_views
from compress.engine.errors import TrainingError
from compress.engine.progress import SILENT, Progress
from compress.engine.stage import StageContext
from compress.evaluate.metrics import top1
from compress.teacher.answers import Answer
from compress.teacher.heads.head import Fitted, Shots
from compress.teacher.teacher import Teacher

LR_WIDTH = 128  # the width that probe_lr is meant for, see fit_probe
# Multiplies the anchors. In simulated spaces with one shot per class (top-1 in % of zero-shot, and
# of a probe with anchor 0 / 1 / 10): scattered images and good names 82, 71 / 79 / 82; mixed 86,
# 82 / 87 / 87; poor names 73, 94 / 89 / 85. 1 is the compromise. The embedded teacher hardly reacts
# (384 images, zero-shot 71; anchor 0 / 1 / 3: 91 / 92 / 92 with 1 shot, 96 / 96 / 97 with 4).
ANCHOR = 1.0
#: ``teacher.probe_anchor`` -> what multiplies a mean over K classes
ANCHOR_SCALES: dict[str, Callable[[int], float]] = {"mean": lambda classes: 1.0, "sum": float}


def probe_features(
    teacher: Teacher,
    shots: NDArray[np.uint8],
    rows: NDArray[np.int64],
    recipe: ViewRecipe,
    views: int,
    ctx: StageContext,
) -> NDArray[np.float32]:
    """Unit features of augmented shots, ``(n * views, D)`` for n ``rows`` of them.

    Row ``i * views + v`` is view v of the i-th.
    """
    per_block = max(1, ctx.settings.label.batch // views)
    parts = []
    teacher.expect(len(rows) * views)
    with (
        ThreadPoolExecutor(ctx.host.workers) as threads,
        ctx.progress.task("probe views", total=len(rows) * views, unit="view") as task,
    ):
        for start in range(0, len(rows), per_block):
            some = rows[start : start + per_block]
            jobs = submit_views(threads, recipe, shots, some, views, ctx.seed, "probe")
            block = np.stack([job.result() for job in jobs])
            parts.append(teacher.encode_images(block))
            task.advance(len(block))
    return np.concatenate(parts)


def fitted_probe(shots: Shots) -> Fitted:
    """The probe of ``teacher.heads``."""
    settings, texts = shots.settings, shots.texts
    pull = ANCHOR * ANCHOR_SCALES[settings.probe_anchor](len(texts))
    rows = fit_probe(
        shots.features,
        shots.labels,
        texts,
        shots.scale,
        steps=settings.probe_steps,
        lr=settings.probe_lr,
        anchor=pull * shots.anchored.astype(np.float32),
        progress=shots.progress,
    )
    facts = {
        "anchor": settings.probe_anchor,
        "zero_shot_top1_on_views": top1(shots.features @ texts.T, shots.labels),
        "probe_top1_on_views": top1(shots.features @ rows.T, shots.labels),
        "cos_probe_text": float((rows * texts).sum(axis=1).mean()),
    }
    return Fitted(Answer(np.float32(shots.scale) * rows), rows, facts)


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    text_head: NDArray[np.float32],
    scale: float,
    *,
    steps: int,
    lr: float,
    anchor: float | NDArray[np.float32] = ANCHOR,
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """The probe's head ``(K, D)``, unit rows; full-batch AdamW with a cosine schedule.

    Args:
        features: ``(n, D)`` unit rows of the shots' views, of classes ``labels`` ``(n,)``.
        text_head: ``(K, D)`` unit rows, the start and the anchor.
        scale: multiplies the cosines.
        lr: per step and coordinate for D = 128. Adam's steps do not shrink with the vector, so at
            width D the rate is ``lr * sqrt(128 / D)``: a step turns a row by the same angle for
            every teacher.
        anchor: multiplies the pull toward the text head, of all classes or of each ``(K,)``; 0
            switches it off.
    """
    f = torch.from_numpy(features)
    y = torch.from_numpy(labels)
    text = torch.from_numpy(text_head)
    pull = torch.as_tensor(anchor) * anchor_weights(scale * f @ text.T, y)
    rows = torch.nn.Parameter(text.clone())
    optimizer = torch.optim.AdamW([rows], lr * (LR_WIDTH / text.shape[1]) ** 0.5, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with progress.task("linear probe", total=steps, unit="step") as task:
        for step in range(steps):
            loss = probe_loss(rows, f, y, text, scale, pull)
            if not torch.isfinite(loss):
                got = f"{loss.item()} at step {step}"
                raise TrainingError("the probe's loss is not finite", got=got)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            task.advance(loss=loss.item())
    fitted: NDArray[np.float32] = normalize(rows.detach(), dim=-1).numpy()
    return fitted


def probe_loss(
    rows: Tensor, features: Tensor, labels: Tensor, text: Tensor, scale: float, pull: Tensor
) -> Tensor:
    """Cross-entropy of a head, mean over n, and its pull to the texts, mean over K; a scalar.

    Args:
        rows, text: ``(K, D)`` of any norm, and unit rows.
        features, labels: ``(n, D)`` unit rows and ``(n,)``.
        pull: ``(K,)``, of each class.
    """
    head = normalize(rows, dim=-1)
    anchored = (pull * (head - text).square().sum(dim=1)).mean()
    return cross_entropy(scale * features @ head.T, labels) + anchored


def anchor_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """``(K,)``: mean zero-shot probability of each class on its own samples; 1 without samples."""
    own = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    count = torch.bincount(labels, minlength=logits.shape[1])
    total = torch.zeros(logits.shape[1]).index_add_(0, labels, own)
    return torch.where(count > 0, total / count.clamp_min(1), torch.ones(()))
