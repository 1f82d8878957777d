"""Stage "label": the teacher's targets, cached once per image view.

A view is image ``i`` of a pool ("real" or "synthetic") rendered with the seed ``derive(run seed,
"view", pool, i, v)``, see ``compress/data/augment.py``. The teacher sees every view exactly once,
here; training replays the same pixels beside the cached answer. Work is kept shard by shard, so a
killed run continues where it stopped and ends with the same bytes.

``label.pools`` names the pools that the teacher labels. A pool left out costs no teacher call and
has no targets: the condition prediction of Sasaki et al., for instance, needs only the features of
the real images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe, submit_views
from compress.data.geometry import fit_geometry
from compress.engine.errors import TrainingError
from compress.engine.partial import kept
from compress.engine.stage import StageContext
from compress.evaluate.diversity import domain_gap, within_class_diversity
from compress.label.artifact import LabelArtifact, PoolKind, PoolTargets
from compress.label.pools import ImagePool, read_pools
from compress.teacher.artifact import Heads, TeacherArtifact
from compress.teacher.loading import load_for
from compress.teacher.teacher import Teacher

UNFILTERED = "label.agreement_filter did nothing: label.pools leaves the synthetic images out"


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the targets of every pool in ``label.pools``, which images to keep, and the views."""
    settings = ctx.settings.label
    recipe = ViewRecipe.from_settings(settings, ctx.settings.image)
    heads = TeacherArtifact(ctx.inputs["teacher"].path).heads()
    pools = read_pools(ctx)
    labeled = {pool.kind: pool for pool in pools if pool.kind in settings.pools}

    @cache
    def teacher() -> Teacher:  # a resumed stage whose shards are complete never loads it
        loaded = load_for(ctx)
        # of all pools, finished or not: a resumed stage computes as the killed one did
        loaded.expect(sum(len(pool.images) * pool.views for pool in labeled.values()))
        return loaded

    targets = {
        kind: label_pool(ctx, pool, recipe, teacher, heads) for kind, pool in labeled.items()
    }
    synthetic = pools[1].classes
    keep = np.ones(len(synthetic), bool)
    if settings.agreement_filter and "synthetic" in targets:
        keep = agreeing(vote(targets["synthetic"].logits), synthetic)
    counts = {pool.kind: {"images": len(pool.images), "views": pool.views} for pool in pools}
    views = {kind: {**row, "asked": kind in labeled} for kind, row in counts.items()}
    LabelArtifact(ctx.folder).write(targets, keep, asdict(recipe), views)
    names = [entry.name for entry in DataArtifact(ctx.inputs["data"].path).classes]
    dropped = np.bincount(synthetic[~keep], minlength=len(names))
    return {
        **{f"{kind}_{key}": value for kind, row in counts.items() for key, value in row.items()},
        "pools": sorted(labeled),
        "teacher_images": sum(len(pool.images) * pool.views for pool in labeled.values()),
        "teacher_agreement_synthetic": _agreement(targets, labeled, "synthetic"),
        "teacher_agreement_real": _agreement(targets, labeled, "real"),
        **_diversity(targets, labeled),
        "agreement_filter": settings.agreement_filter,
        "dropped": int(dropped.sum()),
        "dropped_per_class": {name: int(n) for name, n in zip(names, dropped, strict=True) if n},
        "notes": [UNFILTERED] if settings.agreement_filter and "synthetic" not in labeled else [],
    }


def label_pool(
    ctx: StageContext,
    pool: ImagePool,
    recipe: ViewRecipe,
    teacher: Callable[[], Teacher],
    heads: Heads,
) -> PoolTargets:
    """The teacher's features and logits of all views of a pool, shard by shard."""
    spans = pool.shards(ctx.settings.label.batch)
    files = [ctx.partial / f"label_{pool.kind}_{span.start:07d}.safetensors" for span in spans]
    todo = [(path, span) for path, span in zip(files, spans, strict=True) if not path.exists()]
    total = len(pool.images) * pool.views
    done = total - sum(len(span) for _, span in todo) * pool.views
    with (
        ThreadPoolExecutor(ctx.host.workers) as threads,
        ctx.progress.task(f"label {pool.kind}", total=total, unit="view", done=done) as task,
    ):

        def start(position: int) -> list[Future[NDArray[np.uint8]]]:
            span = todo[position][1] if position < len(todo) else range(0)
            images = pool.images
            return submit_views(threads, recipe, images, span, pool.views, ctx.seed, pool.kind)

        ahead = start(0)
        for position, (path, span) in enumerate(todo):
            clock = time.perf_counter()
            views = np.stack([job.result() for job in ahead])
            waited = time.perf_counter() - clock
            ahead = start(position + 1)
            features = heads.space(teacher().encode_images(fit_geometry(views, teacher().spec)))
            if not np.isfinite(features).all():
                got = f"{pool.kind} images {span.start}..{span.stop - 1}"
                raise TrainingError("the teacher's features are not finite", got=got)
            logits = heads.logits(features)
            shard: dict[str, NDArray[Any]]
            shard = {"features": features.astype(np.float16), "logits": logits}
            shape = (len(span), pool.views, -1)
            with kept(path) as temporary:
                save_file({name: rows.reshape(shape) for name, rows in shard.items()}, temporary)
            task.advance(len(views), wait_s=waited)
    shards = [load_file(path) for path in files]
    classes, width = heads.probe.shape
    no_features = np.empty((0, pool.views, width), np.float16)
    no_logits = np.empty((0, pool.views, classes), np.float32)
    return PoolTargets(
        np.concatenate([no_features, *(shard["features"] for shard in shards)]),
        np.concatenate([no_logits, *(shard["logits"] for shard in shards)]),
    )


def vote(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean class probabilities ``(N, K)`` over the views' logits ``(N, V, K)``."""
    mean: NDArray[np.float32] = softmax(logits, axis=2).mean(axis=1)
    return mean


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
