"""Stage "teacher": the text head, and the linear probe that starts from it.

SIDCLIP fine-tunes the teacher's head on the k shots before distillation and freezes it. It has to
start from the text
embeddings: with one shot per class a randomly initialized probe is far below zero-shot, the paper's
    is above it
(methods.md B.4).

The probe minimizes, over augmented views of the shots with features ``f`` (unit rows) and rows
``w`` of the head,

    mean CE(softmax(scale * f @ u(w).T), y)  +  anchor * mean over classes c of  a_c * |u(w_c) -
                                             t_c|^2

The second term is the class-adaptive anchor of CLAP (arXiv 2312.12730): ``t_c`` is the class's text
embedding and ``a_c`` the probability that zero-shot gives to class c on its own shots, so a class
that the text already explains stays where it is, one that it does not is free to move, and neither
needs a validation set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.data.augment import ViewRecipe, render_view
from compress.engine.errors import TrainingError
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.teacher.clip import Teacher, load_teacher
from compress.teacher.prompts import expand_all

if TYPE_CHECKING:
    from compress.engine.progress import Progress

LR_WIDTH = 128  # the width that probe_lr is meant for, see fit_probe
# Multiplies the anchors. In simulated spaces with one shot per class (zero-shot / 0 / 1 / 10, top-1
# in %): scattered
# images and good names 82 / 71 / 79 / 82, mixed 86 / 82 / 87 / 87, poor names 73 / 94 / 89 / 85. 1
# is the compromise.
# The embedded teacher hardly minds (384 images, zero-shot 71; 0 / 1 / 3: 91 / 92 / 92 at 1 shot, 96
# / 96 / 97 at 4).
ANCHOR = 1.0


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes ``heads.safetensors``: ``zero_shot`` (K, D), ``probe`` (K, D), both unit rows, and
    ``logit_scale`` ().
    """
    import torch
    from safetensors.torch import save_file

    settings, data = ctx.settings.teacher, ctx.inputs["data"].path
    teacher = load_teacher(settings, ctx.host.device, offline=ctx.settings.data.offline)
    classes = json.loads((data / "classes.json").read_text())
    prompts = expand_all(settings.templates, classes)
    zero_shot = teacher.class_head(prompts)
    shots = np.load(data / "shots.npy", mmap_mode="r")
    labels = np.asarray(
        [row["label"] for row in json.loads((data / "shots.json").read_text())], np.int64
    )

    probe, fitted = zero_shot, {}
    if settings.probe and settings.probe_steps and len(shots):
        recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
        features = probe_features(teacher, shots, recipe, settings.probe_views, ctx)
        probe = fit_probe(
            features,
            np.repeat(labels, settings.probe_views),
            zero_shot,
            teacher.logit_scale,
            steps=settings.probe_steps,
            lr=settings.probe_lr,
            progress=ctx.progress,
        )
        fitted = {
            "views": len(features),
            "zero_shot_top1_on_views": top1(
                features @ zero_shot.T, np.repeat(labels, settings.probe_views)
            ),
            "probe_top1_on_views": top1(
                features @ probe.T, np.repeat(labels, settings.probe_views)
            ),
            "cos_probe_text": float((probe * zero_shot).sum(axis=1).mean()),
        }
    heads = {
        "zero_shot": torch.from_numpy(zero_shot.copy()),
        "probe": torch.from_numpy(probe.copy()),
        "logit_scale": torch.tensor(teacher.logit_scale),
    }
    save_file(heads, ctx.folder / "heads.safetensors")
    return {
        "name": teacher.name,
        "params": teacher.params,
        "image_params": teacher.image_params,
        "embed_dim": teacher.embed_dim,
        "input_size": teacher.spec.size,
        "preprocess": teacher.spec.to_json(),
        "logit_scale": teacher.logit_scale,
        "license": teacher.license,
        "revision": teacher.revision,
        "fingerprint": teacher.fingerprint(),
        "templates": list(settings.templates),
        "prompts_example": prompts[0],
        "head": "probe" if fitted else "zero_shot",
        "probe": fitted,
    }


def probe_features(
    teacher: Teacher, shots: NDArray[np.uint8], recipe: ViewRecipe, views: int, ctx: StageContext
) -> NDArray[np.float32]:
    """Unit features ``(n * views, D)`` of augmented views of the shots; row ``i * views + v`` is
    view v of shot i.
    """
    per_block = max(1, ctx.settings.label.batch // views)
    parts = []
    with (
        ThreadPoolExecutor(ctx.host.workers) as threads,
        ctx.progress.task("probe views", total=len(shots) * views, unit="view") as task,
    ):
        for start in range(0, len(shots), per_block):
            jobs = [
                threads.submit(
                    render_view,
                    np.asarray(shots[i]),
                    recipe,
                    derive(ctx.seed, "view", "probe", i, v),
                )
                for i in range(start, min(start + per_block, len(shots)))
                for v in range(views)
            ]
            block = np.stack([job.result() for job in jobs])
            parts.append(teacher.encode_images(fit_geometry(block, teacher.spec)))
            task.advance(len(block))
    return np.concatenate(parts)


def fit_geometry(views: NDArray[np.uint8], spec: runtime.PreprocessSpec) -> NDArray[np.uint8]:
    """Square views ``(B, S, S, 3)`` in the teacher's geometry; the same array if they already have
    it.
    """
    if views.shape[1:3] == (spec.size, spec.size):
        return views
    return np.stack([runtime.geometry(Image.fromarray(view), spec) for view in views])


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    text_head: NDArray[np.float32],
    scale: float,
    *,
    steps: int,
    lr: float,
    anchor: float = ANCHOR,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The probe's head ``(K, D)``, unit rows; full-batch AdamW with a cosine schedule, without
    randomness.

    Args:
        features: ``(n, D)`` unit rows of the shots' views.
        labels: ``(n,)``.
        text_head: ``(K, D)`` unit rows, where it starts and what it is anchored to.
        scale: multiplies the cosines.
        steps: of AdamW.
        lr: per step and coordinate for D = 128. Adam's steps do not shrink with the vector, so at
            width D the rate is ``lr * sqrt(128 / D)``: a step turns a row by the same angle for
            every teacher.
        anchor: multiplies the pull toward the text head; 0 switches it off.
        progress: where to report, if anywhere.

    Raises:
        TrainingError: the loss is not finite.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    from compress.engine.progress import SILENT

    f, y, text = torch.from_numpy(features), torch.from_numpy(labels), torch.from_numpy(text_head)
    pull = anchor * anchor_weights(scale * f @ text.T, y)
    rows = torch.nn.Parameter(text.clone())
    optimizer = torch.optim.AdamW([rows], lr * (LR_WIDTH / text.shape[1]) ** 0.5, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with (progress or SILENT).task("linear probe", total=steps, unit="step") as task:
        for step in range(steps):
            head = normalize(rows, dim=-1)
            loss = (
                cross_entropy(scale * f @ head.T, y)
                + (pull * (head - text).square().sum(dim=1)).mean()
            )
            if not torch.isfinite(loss):
                raise TrainingError(
                    "the probe's loss is not finite", got=f"{loss.item()} at step {step}"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            task.advance(loss=loss.item())
    fitted: NDArray[np.float32] = normalize(rows.detach(), dim=-1).numpy()
    return fitted


def anchor_weights(logits: Any, labels: Any) -> Any:
    """``(K,)``: the mean probability that zero-shot logits ``(n, K)`` give to a class on its own
    samples; else 1.
    """
    import torch

    own = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    count = torch.bincount(labels, minlength=logits.shape[1])
    total = torch.zeros(logits.shape[1]).index_add_(0, labels, own)
    return torch.where(count > 0, total / count.clamp_min(1), torch.ones(()))


def load_heads(folder: Any) -> Mapping[str, NDArray[np.float32]]:
    """``heads.safetensors`` of a finished teacher stage as arrays."""
    from safetensors.numpy import load_file

    return load_file(folder / "heads.safetensors")


def top1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of rows whose largest logit is at the label."""
    return float((logits.argmax(axis=1) == labels).mean())
