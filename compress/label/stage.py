"""Stage "label": the teacher's targets, cached once per image view.

A view is image ``i`` of a pool ("real" or "synthetic") rendered with the seed ``derive(run seed,
"view", pool, i, v)``, see ``compress/data/augment.py``. The teacher sees every view exactly once,
here; training replays the same pixels beside the cached answer. With ``label.teacher_view=own`` it
sees the same view at its own size, cut from the stored image, not the student's pixels enlarged.
Work is kept shard by shard, so a killed run continues where it stopped and ends with the same
bytes.

``label.pools`` names the pools that the teacher labels. A pool left out costs no teacher call and
has no targets: the condition prediction of Sasaki et al., for instance, needs only the features of
the real images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import softmax

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe
from compress.engine.executors.spans import environments, make_spans, notes
from compress.engine.stage import StageContext
from compress.evaluate.diversity import domain_gap, within_class_diversity
from compress.label.artifact import LabelArtifact, PoolKind, PoolTargets
from compress.label.pools import ImagePool
from compress.label.prototypes import KIND, made_toward_prototypes
from compress.label.work import LabelWork
from compress.teacher.artifact import Heads, TeacherArtifact

UNFILTERED = "label.agreement_filter did nothing: label.pools leaves the synthetic images out"
TINY = 1e-30  # of a probability, before a logarithm or a division
UNWEIGHTED = "label.weight did nothing: label.pools leaves the synthetic images out"


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the targets of every pool in ``label.pools``, which images to keep, and the views."""
    settings = ctx.settings.label
    recipe = ViewRecipe.from_settings(settings, ctx.settings.image)
    heads = TeacherArtifact(ctx.inputs["teacher"].path).heads()
    work = LabelWork(ctx)
    pools = work.every
    labeled = {pool.kind: pool for _, pool in work.pools}
    files = make_spans(work)
    targets = {
        kind: joined(pool.views, heads, [file for file in files if work.is_of(kind, file)])
        for kind, pool in labeled.items()
    }
    synthetic = pools[1].classes
    keep = np.ones(len(synthetic), bool)
    if settings.agreement_filter and "synthetic" in targets:
        keep = agreeing(vote(targets["synthetic"].logits), synthetic)
    weigh, weight = WEIGHTS[settings.weight], None
    if weigh is not None and "synthetic" in targets:
        weight = weigh(vote(targets["synthetic"].logits), synthetic)
    if settings.average_targets:
        targets = {kind: averaged(answers) for kind, answers in targets.items()}
    generated, answered = (ctx.inputs[name].facts for name in ("generate", "teacher"))
    counts = {pool.kind: {"images": len(pool.images), "views": pool.views} for pool in pools}
    views = {kind: {**row, "asked": kind in labeled} for kind, row in counts.items()}
    LabelArtifact(ctx.folder).write(targets, keep, asdict(recipe), views, weight)
    names = [entry.name for entry in DataArtifact(ctx.inputs["data"].path).classes]
    dropped = np.bincount(synthetic[~keep], minlength=len(names))
    return {
        **{f"{kind}_{key}": value for kind, row in counts.items() for key, value in row.items()},
        "pools": sorted(labeled),
        "head": KIND if made_toward_prototypes(generated) else answered.get("head"),
        "teacher_images": sum(len(pool.images) * pool.views for pool in labeled.values()),
        "teacher_agreement_synthetic": _agreement(targets, labeled, "synthetic"),
        "teacher_agreement_real": _agreement(targets, labeled, "real"),
        **_diversity(targets, labeled),
        **({"teacher_view_sizes": list(work.sizes)} if settings.teacher_view == "own" else {}),
        "agreement_filter": settings.agreement_filter,
        "dropped": int(dropped.sum()),
        "dropped_per_class": {name: int(n) for name, n in zip(names, dropped, strict=True) if n},
        "environments": environments(files),
        "notes": [
            *([UNFILTERED] if settings.agreement_filter and "synthetic" not in labeled else []),
            *([UNWEIGHTED] if weigh is not None and "synthetic" not in labeled else []),
            *(f"labels {note}" for note in notes(files)),
        ],
    }


def joined(views: int, heads: Heads, shards: Iterable[Path]) -> PoolTargets:
    """The teacher's features and logits of all views of a pool, from its shards."""
    classes, width = heads.probe.shape
    features = [np.empty((0, views, width), np.float16)]
    logits = [np.empty((0, views, classes), np.float32)]
    for shard in map(load_file, shards):
        features.append(shard["features"])
        logits.append(shard["logits"])
    return PoolTargets(np.concatenate(features), np.concatenate(logits))


def vote(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean class probabilities ``(N, K)`` over the views' logits ``(N, V, K)``."""
    mean: NDArray[np.float32] = softmax(logits, axis=2).mean(axis=1)
    return mean


def averaged(answers: PoolTargets) -> PoolTargets:
    """The answers with the log of the mean probabilities of an image's views as each one's logits.

    The teacher's answers to the views of an image differ by what a crop shows of it. Their mean is
    the better estimate of what the image is, and costs nothing: all views are labeled anyway. It
    is also softer, and no longer says which crops show the class well [I].
    """
    mean = np.log(np.maximum(vote(answers.logits), TINY))
    return replace(answers, logits=np.repeat(mean[:, None], answers.logits.shape[1], axis=1))


def class_shares(votes: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """The teacher's probability of each image's class, divided by the class's mean, ``(N,)``.

    The soft form of ``label.agreement_filter``. Every class keeps its share of the draws: a teacher
    that is unsure of a class would otherwise take away its images.
    """
    own = votes[np.arange(len(classes)), classes].astype(np.float64)
    own = np.maximum(own, TINY)
    counts = np.maximum(np.bincount(classes), 1)
    means = np.bincount(classes, own) / counts if len(own) else counts
    return np.asarray(own / means[classes], np.float32)


#: ``label.weight`` -> how often synthetic images of these votes and classes are drawn; None: alike
WEIGHTS: dict[
    str, Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]] | None
] = {"none": None, "teacher": class_shares}


def agreeing(votes: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images the teacher assigns to their class, ``(N,)``.

    A class that would lose all its images keeps the best one.
    """
    keep = votes.argmax(axis=1) == classes
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        if not keep[members].any():
            keep[members[votes[members, label].argmax()]] = True
    return keep


def _agreement(
    targets: Mapping[PoolKind, PoolTargets], pools: Mapping[PoolKind, ImagePool], kind: PoolKind
) -> float | None:
    """Share of a pool's images that the teacher assigns to their class; None without any."""
    if kind not in pools or not len(pools[kind].classes):
        return None
    return float((vote(targets[kind].logits).argmax(axis=1) == pools[kind].classes).mean())


def _diversity(
    targets: Mapping[PoolKind, PoolTargets], pools: Mapping[PoolKind, ImagePool]
) -> dict[str, float | None]:
    """Diversity of each pool and the gap between them, from every image's first view."""
    first = {kind: (row.features[:, 0], pools[kind].classes) for kind, row in targets.items()}
    diversity = {kind: within_class_diversity(*rows) for kind, rows in first.items()}
    return {
        "diversity_synthetic": diversity.get("synthetic"),
        "diversity_real": diversity.get("real"),
        "domain_gap": domain_gap(*first["synthetic"], *first["real"]) if len(first) == 2 else None,
    }
