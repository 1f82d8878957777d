"""Stage "label": the teacher's targets, cached once per image view.

A view is image ``i`` of a pool ("real" or "synthetic") rendered with the seed ``derive(run seed,
"view", pool, i, v)``, see ``augment.py``. The teacher sees every view exactly once, here; training
replays the same pixels beside the cached answer. Work is kept shard by shard, so a killed run
continues where it stopped and ends with the same bytes.

``label.pools`` says which pools the teacher is asked about. One that is left out costs no teacher
call and has no targets: condition prediction (methods.md A.3), for instance, needs the real images'
    features and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.data.augment import ViewRecipe, render_view
from compress.engine.errors import TrainingError
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.evaluate.metrics import domain_gap, within_class_diversity
from compress.teacher.clip import Teacher, load_teacher
from compress.teacher.stage import fit_geometry, load_heads

UNFILTERED = "label.agreement_filter did nothing: label.pools leaves the synthetic images out"


@dataclass(frozen=True)
class Pool:
    """Images to be labeled.

    Attributes:
        kind: "real" or "synthetic".
        images: ``(N, C, C, 3)`` uint8, may be a memory map.
        classes: ``(N,)`` class of each image.
        views: V, views per image.
    """

    kind: str
    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    views: int

    def shards(self, batch: int) -> Iterator[tuple[int, int]]:
        """Ranges of images whose views make about one batch."""
        step = max(1, batch // self.views)
        yield from (
            (start, min(start + step, len(self.images)))
            for start in range(0, len(self.images), step)
        )


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes ``targets.safetensors`` and ``views.json``.

    targets, for every pool of ``label.pools``: ``real_features`` (n, V, D) fp16, ``real_logits``
        (n, V, K) fp32, the same
    for ``synthetic_``; and always ``keep`` (N,) bool, False for synthetic images that the agreement
    filter left out. views.json: the recipe, and of each pool its images, its views and whether the
        teacher was asked.
    """
    from safetensors.numpy import save_file

    settings, recipe = (
        ctx.settings.label,
        ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image),
    )
    heads = load_heads(ctx.inputs["teacher"].path)
    head, scale = heads["probe"], float(heads["logit_scale"])
    pools = read_pools(ctx)
    asked: dict[str, Pool] = {pool.kind: pool for pool in pools if pool.kind in settings.pools}
    lazy = _LazyTeacher(ctx)
    targets: dict[str, NDArray[Any]] = {}
    for pool in asked.values():
        features, logits = label_pool(ctx, pool, recipe, lazy, head, scale)
        targets[f"{pool.kind}_features"], targets[f"{pool.kind}_logits"] = features, logits
    keep = np.ones(len(pools[1].images), bool)
    if settings.agreement_filter and "synthetic" in asked:
        keep = agreeing(vote(targets["synthetic_logits"]), pools[1].classes)
    save_file({**targets, "keep": keep}, ctx.folder / "targets.safetensors")
    counts = {pool.kind: {"images": len(pool.images), "views": pool.views} for pool in pools}
    told = {kind: {**row, "asked": kind in asked} for kind, row in counts.items()}
    write_json(
        ctx.folder / "views.json",
        {
            "recipe": recipe.plain(),
            "pools": told,
            "seed": 'derive(run seed, "view", pool, image, view)',
        },
    )
    names = [
        row["name"] for row in json.loads((ctx.inputs["data"].path / "classes.json").read_text())
    ]
    dropped = np.bincount(pools[1].classes[~keep], minlength=len(names))
    return {
        **{f"{kind}_{key}": value for kind, row in counts.items() for key, value in row.items()},
        "pools": sorted(asked),
        "teacher_images": sum(len(pool.images) * pool.views for pool in asked.values()),
        "teacher_agreement_synthetic": _agreement(targets, asked.get("synthetic")),
        "teacher_agreement_real": _agreement(targets, asked.get("real")),
        **_looks(targets, asked),
        "agreement_filter": settings.agreement_filter,
        "dropped": int(dropped.sum()),
        "dropped_per_class": {name: int(n) for name, n in zip(names, dropped, strict=True) if n},
        "notes": [UNFILTERED] if settings.agreement_filter and "synthetic" not in asked else [],
    }


def read_pools(ctx: StageContext) -> tuple[Pool, Pool]:
    """The real shots and the synthetic images of a run, with their numbers of views."""
    data, made = ctx.inputs["data"].path, ctx.inputs["generate"].path
    shots, synthetic = (
        np.load(data / "shots.npy", mmap_mode="r"),
        np.load(made / "synthetic.npy", mmap_mode="r"),
    )
    shot_classes = [row["label"] for row in json.loads((data / "shots.json").read_text())]
    classes = [
        json.loads(line)["class_id"] for line in (made / "synthetic.jsonl").read_text().splitlines()
    ]
    settings = ctx.settings.label
    real_views = settings.real_views or balanced_views(len(shots), len(synthetic), settings.views)
    return (
        Pool("real", shots, np.asarray(shot_classes, np.int64), real_views),
        Pool("synthetic", synthetic, np.asarray(classes, np.int64), settings.views),
    )


def balanced_views(real: int, synthetic: int, views: int) -> int:
    """Views per real shot so that both pools have about as many views; at least as many as a
    synthetic image has.
    """
    return max(views, -(-synthetic * views // real)) if real else views


def label_pool(
    ctx: StageContext,
    pool: Pool,
    recipe: ViewRecipe,
    teacher: _LazyTeacher,
    head: NDArray[np.float32],
    scale: float,
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Features ``(N, V, D)`` and logits ``(N, V, K) = scale * cos`` of all views of a pool, resumed
    from its shards.

    Raises:
        TrainingError: the teacher answered with something that is not a number.
    """
    from safetensors.numpy import load_file, save_file

    ranges = list(pool.shards(ctx.settings.label.batch))
    files = [ctx.partial / f"label_{pool.kind}_{start:07d}.safetensors" for start, _ in ranges]
    todo = [(path, span) for path, span in zip(files, ranges, strict=True) if not path.exists()]
    total = len(pool.images) * pool.views
    done = total - sum(stop - start for _, (start, stop) in todo) * pool.views
    with (
        ThreadPoolExecutor(ctx.host.workers) as threads,
        ctx.progress.task(f"label {pool.kind}", total=total, unit="view", done=done) as task,
    ):
        ahead = _submit(threads, ctx, pool, recipe, todo[0][1]) if todo else []
        for position, (path, (start, stop)) in enumerate(todo):
            clock = time.perf_counter()
            views = np.stack([job.result() for job in ahead])
            waited = time.perf_counter() - clock
            ahead = (
                _submit(threads, ctx, pool, recipe, todo[position + 1][1])
                if position + 1 < len(todo)
                else []
            )
            features = teacher.get().encode_images(fit_geometry(views, teacher.get().spec))
            if not np.isfinite(features).all():
                span = f"{pool.kind} images {start}..{stop - 1}"
                raise TrainingError("the teacher's features are not finite", got=span)
            shape = (stop - start, pool.views, -1)
            shard = {
                "features": features.reshape(shape).astype(np.float16),
                "logits": (np.float32(scale) * (features @ head.T)).reshape(shape),
            }
            save_file(shard, path.with_suffix(".tmp"))
            os.replace(path.with_suffix(".tmp"), path)
            task.advance(len(views), wait_s=waited)
    shards = [load_file(path) for path in files]
    classes, width = head.shape
    no_features = np.empty((0, pool.views, width), np.float16)
    no_logits = np.empty((0, pool.views, classes), np.float32)
    return (
        np.concatenate([no_features, *(shard["features"] for shard in shards)]),
        np.concatenate([no_logits, *(shard["logits"] for shard in shards)]),
    )


def _submit(
    threads: ThreadPoolExecutor,
    ctx: StageContext,
    pool: Pool,
    recipe: ViewRecipe,
    span: tuple[int, int],
) -> list[Future[NDArray[np.uint8]]]:
    """Starts rendering the views of a range of images; row ``i * V + v`` is view v of the range's
    i-th image.
    """
    return [
        threads.submit(
            render_view,
            np.asarray(pool.images[i]),
            recipe,
            derive(ctx.seed, "view", pool.kind, i, v),
        )
        for i in range(*span)
        for v in range(pool.views)
    ]


def vote(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The teacher's opinion of an image, ``(N, V, K)`` -> ``(N, K)``: the mean of its views'
    probabilities.
    """
    shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
    mean: NDArray[np.float32] = (shifted / shifted.sum(axis=2, keepdims=True)).mean(axis=1)
    return mean


def agreeing(votes: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images the teacher assigns to their class, ``(N,)``; a class that would be lost keeps
    its best image.
    """
    keep = votes.argmax(axis=1) == classes
    for wanted in np.unique(classes):
        members = np.flatnonzero(classes == wanted)
        if not keep[members].any():
            keep[members[votes[members, wanted].argmax()]] = True
    return keep


def _agreement(targets: Mapping[str, NDArray[Any]], pool: Pool | None) -> float | None:
    """Share of a pool's images that the teacher assigns to their class; None if it was not asked,
    or there are none.
    """
    if pool is None or not len(pool.classes):
        return None
    return float((vote(targets[f"{pool.kind}_logits"]).argmax(axis=1) == pool.classes).mean())


def _looks(
    targets: Mapping[str, NDArray[Any]], asked: Mapping[str, Pool]
) -> dict[str, float | None]:
    """Diversity of each pool and the gap between them, from the teacher's features of every image's
    first view.
    """
    first = {kind: targets[f"{kind}_features"][:, 0] for kind in asked}
    out: dict[str, float | None] = {f"diversity_{kind}": None for kind in ("synthetic", "real")}
    out.update(
        {
            f"diversity_{kind}": within_class_diversity(rows, asked[kind].classes)
            for kind, rows in first.items()
        }
    )
    out["domain_gap"] = None
    if len(first) == 2:
        out["domain_gap"] = domain_gap(
            first["synthetic"], asked["synthetic"].classes, first["real"], asked["real"].classes
        )
    return out


class _LazyTeacher:
    """Loads the teacher when the first view needs it: a resumed stage whose shards are complete
    never does.
    """

    def __init__(self, ctx: StageContext) -> None:
        self._ctx = ctx
        self._teacher: Teacher | None = None

    def get(self) -> Teacher:
        if self._teacher is None:
            ctx = self._ctx
            self._teacher = load_teacher(
                ctx.settings.teacher, ctx.host.device, offline=ctx.settings.data.offline
            )
        return self._teacher
