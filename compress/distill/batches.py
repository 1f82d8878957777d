"""Batches of replayable views with the teacher's cached targets.

A view is image ``i`` augmented with the seed ``derive(run seed, "view", pool, i, v)``. The label
stage has asked the teacher about exactly these views, so here they are rendered again (and kept in
RAM while they fit) beside the cached answers.
Which views a batch holds depends on the seed and the step alone: a fresh permutation per pass over
    the pool.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import runtime
from compress.data.augment import ViewRecipe, render_view
from compress.engine.seeds import derive, numpy_rng
from compress.engine.stage import StageContext


@dataclass
class Batch:
    """Inputs and targets of one step. Targets that the label stage was not asked for are None.

    Attributes:
        images: ``(B, 3, S, S)`` float32, normalized as the student wants them, channels last.
        teacher_logits: ``(B, K)`` float32.
        teacher_features: ``(B, D)`` float32, unit rows.
        labels: ``(B,)`` int64.
        real: ``(B,)`` bool, False for synthetic images.
        conditions: ``(B, E)`` float32, the embedding each image was generated from; a real image's
            own.
        group: ``(B,)`` bool, the half of the styles that a meta step trains on.
        wait_s: seconds this batch was waited for.
    """

    images: Tensor
    teacher_logits: Tensor | None
    teacher_features: Tensor | None
    labels: Tensor
    real: Tensor
    conditions: Tensor | None = None
    group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    wait_s: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """What is saved when training stops on a NaN."""
        kept = {"images": self.images, "teacher_logits": self.teacher_logits, "labels": self.labels}
        return {name: value for name, value in kept.items() if value is not None}

    def to(self, device: str) -> Batch:
        """The same on a device."""
        if device == "cpu":
            return self
        moved: dict[str, Any] = {}
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            moved[name] = value.to(device) if isinstance(value, Tensor) else value
        return Batch(**moved)

    def part(self, rows: Tensor) -> Batch:
        """The images where ``rows`` (B,) bool is true."""
        kept: dict[str, Any] = {}
        for name in (f.name for f in fields(self) if f.name not in ("wait_s", "group")):
            value = getattr(self, name)
            kept[name] = None if value is None else value[rows]
        return Batch(**kept)


class Pool:
    """Images of one kind ("real" or "synthetic") with V views each.

    Args:
        images: ``(N, C, C, 3)`` uint8, may be a memory map.
        labels: ``(N,)`` int.
        targets: what is cached about them: "features" ``(N, V, D)`` and "logits" ``(N, V, K)`` of
            the teacher, "conditions" ``(N, E)`` of the generator; what is not there was not asked
            for.
        keep: ``(N,)`` bool; images left out by a filter are never drawn.
        styles: ``(N,)`` int, -1 where an image has none.
        views: V, renderings of each image.
        cache_bytes: rendered views are kept in RAM if all of them fit into this.
    """

    def __init__(
        self,
        kind: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        targets: dict[str, Tensor],
        keep: NDArray[np.bool_],
        styles: NDArray[np.int64],
        views: int,
        recipe: ViewRecipe,
        seed: int,
        cache_bytes: int,
    ) -> None:
        self.kind, self.images, self.labels, self.recipe, self.seed = (
            kind,
            images,
            labels,
            recipe,
            seed,
        )
        self.targets, self.styles, self.views = targets, styles, views
        self.members = np.flatnonzero(np.repeat(keep, self.views))  # flat index = image * V + view
        edge = recipe.size
        fits = len(images) * self.views * edge * edge * 3 <= cache_bytes
        self._cache = (
            np.empty((len(images) * self.views, edge, edge, 3), np.uint8) if fits else None
        )
        self._cached = np.zeros(len(images) * self.views, bool)
        self._orders: dict[tuple[str, int], NDArray[np.int64]] = {}

    def draw(self, phase: str, position: int, count: int) -> NDArray[np.int64]:
        """Flat indices at ``position .. position + count`` of the endless sequence of shuffled
        passes.
        """
        size, out = len(self.members), []
        for turn in range(position // size, (position + count - 1) // size + 1):
            first, last = max(position, turn * size), min(position + count, (turn + 1) * size)
            out.append(self._turn(phase, turn)[first - turn * size : last - turn * size])
        return np.concatenate(out)

    def _turn(self, phase: str, turn: int) -> NDArray[np.int64]:
        """One shuffled pass; the last few are kept, for whichever thread asks."""
        order = self._orders.get((phase, turn))
        if order is None:
            order = numpy_rng(self.seed, "order", phase, self.kind, turn).permutation(self.members)
            self._orders = {**dict(list(self._orders.items())[-3:]), (phase, turn): order}
        return order

    def draw_styles(
        self, wanted: NDArray[np.int64], count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """``count`` flat indices of images whose style is one of ``wanted``."""
        return np.asarray(
            rng.choice(
                self.members[np.isin(self.styles[self.members // self.views], wanted)], count
            ),
            np.int64,
        )

    def target(self, name: str, indices: NDArray[np.int64]) -> Tensor | None:
        """The cached targets of flat indices, ``(B, ...)`` float32, or None if there are none of
        this name.
        """
        if name not in self.targets:
            return None
        cached = self.targets[name]
        return (
            cached[indices // self.views].float()
            if cached.ndim == 2
            else cached.flatten(0, 1)[indices].float()
        )

    def view(self, index: int) -> NDArray[np.uint8]:
        """The view with flat index ``image * V + view``, ``(S, S, 3)`` uint8."""
        if self._cache is not None and self._cached[index]:
            row: NDArray[np.uint8] = self._cache[index]
            return row
        image, view = divmod(int(index), self.views)
        made = render_view(
            np.asarray(self.images[image]),
            self.recipe,
            derive(self.seed, "view", self.kind, image, view),
        )
        if self._cache is not None:
            self._cache[index] = made
            self._cached[index] = True
        return made


class Batches:
    """Draws batches from the real shots and the synthetic images of a run.

    Args:
        ctx: a stage context whose inputs hold data, generate and label.
        preprocess: the student's geometry and normalization.
        phase: separates the draws of different stages ("distill", "quantize").
    """

    def __init__(self, ctx: StageContext, preprocess: runtime.PreprocessSpec, phase: str) -> None:
        self.preprocess, self.phase, self.seed = preprocess, phase, ctx.seed
        self.batch = ctx.settings.distill.batch
        self.real, self.synthetic = _pools(ctx)
        self._threads = ThreadPoolExecutor(ctx.host.workers)
        self._ahead = ThreadPoolExecutor(1)
        self._next: tuple[tuple[int, bool], Future[Batch]] | None = None
        self.parts = self._split(ctx.settings.distill.real_fraction)

    def _split(self, real_fraction: float) -> tuple[tuple[Pool, int], ...]:
        """How many images of each pool a batch holds; real and synthetic together where there are
        both.
        """
        have_real, have_synthetic = len(self.real.members) > 0, len(self.synthetic.members) > 0
        share = real_fraction if have_real and have_synthetic else float(have_real)
        count = round(self.batch * share)
        return tuple(
            (pool, n) for pool, n in ((self.real, count), (self.synthetic, self.batch - count)) if n
        )

    @property
    def images(self) -> int:
        """Images that batches are drawn from, views not counted."""
        return sum(len(pool.members) // pool.views for pool, _ in self.parts)

    @property
    def has(self) -> frozenset[str]:
        """Targets that every pool in use offers: "logits", "features", "conditions"."""
        names = [frozenset(pool.targets) for pool, _ in self.parts]
        return frozenset.intersection(*names) if names else frozenset()

    def features(self) -> tuple[Tensor, Tensor]:
        """Cached teacher features ``(N, D)`` of the kept views and their labels: of real images, or
        of synthetic ones where there are no shots. Empty if the teacher was asked about neither.
        """
        for pool, _ in self.parts:
            rows = pool.target("features", pool.members)
            if rows is not None:
                return rows, torch.from_numpy(pool.labels[pool.members // pool.views])
        return torch.empty(0, 0), torch.empty(0, dtype=torch.long)

    @property
    def styles(self) -> NDArray[np.int64]:
        """The styles among the images in use; images without one are a style of their own, -1."""
        return np.unique(
            np.concatenate([pool.styles[pool.members // pool.views] for pool, _ in self.parts])
        )

    def at(self, step: int, *, apart: bool = False) -> Batch:
        """The batch of a step, rendered ahead in the background; ``wait_s`` says how long it was
        waited for.

        Args:
            apart: deal the styles into two groups, anew for every step, and draw half of the batch
                from each.
        """
        start = time.perf_counter()
        wanted = (step, apart)
        ready = (
            self._next[1].result()
            if self._next and self._next[0] == wanted
            else self._make(*wanted)
        )
        self._next = ((step + 1, apart), self._ahead.submit(self._make, step + 1, apart))
        ready.wait_s = time.perf_counter() - start
        return ready

    def calibration(self, count: int) -> tuple[Tensor, list[list[int | str]]]:
        """``count`` training views for calibration: images ``(count, 3, S, S)`` and their [pool,
        image, view] indices.
        """
        drawn = [
            (pool, index)
            for pool, share in self.parts
            for index in pool.draw("calibration", 0, max(1, round(count * share / self.batch)))
        ]
        images = self._images([self._threads.submit(pool.view, index) for pool, index in drawn])
        return images, [
            [pool.kind, *(int(part) for part in divmod(int(index), pool.views))]
            for pool, index in drawn
        ]

    def _make(self, step: int, apart: bool) -> Batch:
        drawn = self._draw_apart(step) if apart else self._draw(step)
        views = [
            self._threads.submit(pool.view, index)
            for pool, indices, _ in drawn
            for index in indices
        ]
        return Batch(
            images=self._images(views),
            teacher_logits=_joined([pool.target("logits", indices) for pool, indices, _ in drawn]),
            teacher_features=_joined(
                [pool.target("features", indices) for pool, indices, _ in drawn]
            ),
            labels=torch.from_numpy(
                np.concatenate([pool.labels[indices // pool.views] for pool, indices, _ in drawn])
            ),
            real=torch.cat(
                [torch.full((len(indices),), pool.kind == "real") for pool, indices, _ in drawn]
            ),
            conditions=_joined([pool.target("conditions", indices) for pool, indices, _ in drawn]),
            group=torch.cat([torch.full((len(indices),), first) for _, indices, first in drawn]),
        )

    def _draw(self, step: int) -> list[tuple[Pool, NDArray[np.int64], bool]]:
        return [
            (pool, pool.draw(self.phase, step * count, count), True) for pool, count in self.parts
        ]

    def _draw_apart(self, step: int) -> list[tuple[Pool, NDArray[np.int64], bool]]:
        rng = numpy_rng(self.seed, "style groups", self.phase, step)
        styles = rng.permutation(self.styles)
        halves = styles[: len(styles) // 2], styles[len(styles) // 2 :]
        out = []
        for half, first in zip(halves, (True, False), strict=True):
            able = [
                pool
                for pool, _ in self.parts
                if np.isin(pool.styles[pool.members // pool.views], half).any()
            ]
            share = self.batch // 2 // len(able)
            out += [(pool, pool.draw_styles(half, share, rng), first) for pool in able]
        return out

    def _images(self, views: list[Future[NDArray[np.uint8]]]) -> Tensor:
        stacked = np.stack([view.result() for view in views])
        normal = torch.from_numpy(runtime.normalize(stacked, self.preprocess))
        return normal.contiguous(memory_format=torch.channels_last)

    def close(self) -> None:
        """Stops the background threads."""
        self._ahead.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)


def _pools(ctx: StageContext) -> tuple[Pool, Pool]:
    """The real and the synthetic pool of a run, with whatever targets its stages left."""
    from safetensors.torch import load_file

    data, made = ctx.inputs["data"].path, ctx.inputs["generate"].path
    cached = load_file(ctx.inputs["label"].path / "targets.safetensors")
    views = json.loads((ctx.inputs["label"].path / "views.json").read_text())["pools"]
    recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
    budget = ctx.host.cache_mb * 2**20 // 2
    labels = np.asarray(
        [row["label"] for row in json.loads((data / "shots.json").read_text())], np.int64
    )
    records = [json.loads(line) for line in (made / "synthetic.jsonl").read_text().splitlines()]

    def pool(
        kind: str,
        images: Path,
        conditions: Path,
        labels: NDArray[np.int64],
        keep: NDArray[np.bool_],
        styles: list[Any],
    ) -> Pool:
        targets = {
            name: cached[f"{kind}_{name}"]
            for name in ("features", "logits")
            if f"{kind}_{name}" in cached
        }
        if conditions.exists() and (rows := np.load(conditions)).size:
            targets["conditions"] = torch.from_numpy(rows)
        marks = np.asarray([-1 if style is None else style for style in styles], np.int64)
        return Pool(
            kind,
            np.load(images, mmap_mode="r"),
            labels,
            targets,
            keep,
            marks,
            views[kind]["views"],
            recipe,
            ctx.seed,
            budget,
        )

    return (
        pool(
            "real",
            data / "shots.npy",
            made / "source_conditions.npy",
            labels,
            np.ones(len(labels), bool),
            [None] * len(labels),
        ),
        pool(
            "synthetic",
            made / "synthetic.npy",
            made / "conditions.npy",
            np.asarray([row["class_id"] for row in records], np.int64),
            cached["keep"].numpy().astype(bool),
            [row.get("style_id") for row in records],
        ),
    )


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """The parts one behind the other, or None where one of them is missing."""
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there and len(there) == len(parts) else None
