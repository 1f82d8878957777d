"""Batches of replayable views with the teacher's cached targets.

A view is image ``i`` augmented with the seed ``derive(run seed, "view", pool, i, v)``. The label stage has asked the teacher
about exactly these views, so here they are rendered again (and kept in RAM while they fit) beside the cached answers.
Which views a batch holds depends on the seed and the step alone: a fresh permutation per pass over the pool.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import runtime
from compress.augment import ViewRecipe, render_view
from compress.seeds import derive, numpy_rng
from compress.stages import StageContext


@dataclass
class Batch:
    """Inputs and targets of one step.

    Attributes:
        images: ``(B, 3, S, S)`` float32, normalised as the student wants them, channels last.
        teacher_logits: ``(B, K)`` float32.
        teacher_features: ``(B, D)`` float32, unit rows.
        labels: ``(B,)`` int64.
        real: ``(B,)`` bool, False for synthetic images.
        wait_s: seconds this batch was waited for.
    """

    images: Tensor
    teacher_logits: Tensor
    teacher_features: Tensor
    labels: Tensor
    real: Tensor
    wait_s: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """What is saved when training stops on a NaN."""
        return {"images": self.images, "teacher_logits": self.teacher_logits, "labels": self.labels}


class Pool:
    """Images of one kind ("real" or "synthetic") with V views each.

    Args:
        images: ``(N, C, C, 3)`` uint8, may be a memory map.
        labels: ``(N,)`` int.
        features: ``(N, V, D)`` cached teacher features.
        logits: ``(N, V, K)`` cached teacher logits.
        keep: ``(N,)`` bool; images left out by a filter are never drawn.
        cache_bytes: rendered views are kept in RAM if all of them fit into this.
    """

    def __init__(
        self,
        kind: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        features: Tensor,
        logits: Tensor,
        keep: NDArray[np.bool_],
        recipe: ViewRecipe,
        seed: int,
        cache_bytes: int,
    ) -> None:
        self.kind, self.images, self.labels, self.recipe, self.seed = kind, images, labels, recipe, seed
        self.features, self.logits = features, logits
        self.views = int(logits.shape[1])
        self.members = np.flatnonzero(np.repeat(keep, self.views))  # flat index = image * V + view
        edge = recipe.size
        fits = len(images) * self.views * edge * edge * 3 <= cache_bytes
        self._cache = np.empty((len(images) * self.views, edge, edge, 3), np.uint8) if fits else None
        self._cached = np.zeros(len(images) * self.views, bool)
        self._order: tuple[tuple[str, int], NDArray[np.int64]] = (("", -1), self.members)

    def draw(self, phase: str, position: int, count: int) -> NDArray[np.int64]:
        """Flat indices at ``position .. position + count`` of the endless sequence of shuffled passes."""
        size, out = len(self.members), []
        for place in range(position, position + count):
            turn = place // size
            if self._order[0] != (phase, turn):
                shuffled = numpy_rng(self.seed, "order", phase, self.kind, turn).permutation(self.members)
                self._order = ((phase, turn), shuffled)
            out.append(self._order[1][place % size])
        return np.asarray(out, np.int64)

    def view(self, index: int) -> NDArray[np.uint8]:
        """The view with flat index ``image * V + view``, ``(S, S, 3)`` uint8."""
        if self._cache is not None and self._cached[index]:
            row: NDArray[np.uint8] = self._cache[index]
            return row
        image, view = divmod(int(index), self.views)
        made = render_view(
            np.asarray(self.images[image]), self.recipe, derive(self.seed, "view", self.kind, image, view)
        )
        if self._cache is not None:
            self._cache[index] = made
            self._cached[index] = True
        return made


class Batches:
    """Draws batches from the real shots and the synthetic images of a run.

    Args:
        ctx: a stage context whose inputs hold data, generate and label.
        preprocess: the student's geometry and normalisation.
        phase: separates the draws of different stages ("distill", "quantize").
    """

    def __init__(self, ctx: StageContext, preprocess: runtime.PreprocessSpec, phase: str) -> None:
        from safetensors.torch import load_file

        self.preprocess, self.phase = preprocess, phase
        self.batch = ctx.settings.distill.batch
        data, made = ctx.inputs["data"].path, ctx.inputs["generate"].path
        targets = load_file(ctx.inputs["label"].path / "targets.safetensors")
        recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
        real_labels = np.asarray([row["label"] for row in json.loads((data / "shots.json").read_text())], np.int64)
        synthetic_labels = _classes(made / "synthetic.jsonl")
        budget = ctx.host.cache_mb * 2**20 // 2
        self.real = Pool(
            "real", np.load(data / "shots.npy", mmap_mode="r"), real_labels, targets["real_features"],
            targets["real_logits"], np.ones(len(real_labels), bool), recipe, ctx.seed, budget,
        )  # fmt: skip
        self.synthetic = Pool(
            "synthetic", np.load(made / "synthetic.npy", mmap_mode="r"), synthetic_labels, targets["synthetic_features"],
            targets["synthetic_logits"], targets["keep"].numpy().astype(bool), recipe, ctx.seed, budget,
        )  # fmt: skip
        self._threads = ThreadPoolExecutor(ctx.host.workers)
        self._ahead = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Batch]] | None = None
        self.parts = self._split(ctx.settings.distill.real_fraction)

    def _split(self, real_fraction: float) -> tuple[tuple[Pool, int], ...]:
        """How many images of each pool a batch holds; real and synthetic together where there are both."""
        have_real, have_synthetic = len(self.real.members) > 0, len(self.synthetic.members) > 0
        share = real_fraction if have_real and have_synthetic else float(have_real)
        count = round(self.batch * share)
        return tuple((pool, n) for pool, n in ((self.real, count), (self.synthetic, self.batch - count)) if n)

    def at(self, step: int) -> Batch:
        """The batch of a step, rendered ahead in the background; ``wait_s`` says how long it was waited for."""
        start = time.perf_counter()
        ready = self._next[1].result() if self._next and self._next[0] == step else self._make(step)
        self._next = (step + 1, self._ahead.submit(self._make, step + 1))
        ready.wait_s = time.perf_counter() - start
        return ready

    def calibration(self, count: int) -> tuple[Tensor, list[list[int | str]]]:
        """``count`` training views for calibration: images ``(count, 3, S, S)`` and their [pool, image, view] indices."""
        drawn = [
            (pool, index)
            for pool, share in self.parts
            for index in pool.draw("calibration", 0, max(1, round(count * share / self.batch)))
        ]
        images = self._images([self._threads.submit(pool.view, index) for pool, index in drawn])
        return images, [[pool.kind, *(int(part) for part in divmod(int(index), pool.views))] for pool, index in drawn]

    def _make(self, step: int) -> Batch:
        drawn = [(pool, pool.draw(self.phase, step * count, count)) for pool, count in self.parts]
        views = [self._threads.submit(pool.view, index) for pool, indices in drawn for index in indices]
        return Batch(
            images=self._images(views),
            teacher_logits=torch.cat([pool.logits.flatten(0, 1)[indices] for pool, indices in drawn]).float(),
            teacher_features=torch.cat([pool.features.flatten(0, 1)[indices] for pool, indices in drawn]).float(),
            labels=torch.from_numpy(np.concatenate([pool.labels[indices // pool.views] for pool, indices in drawn])),
            real=torch.cat([torch.full((len(indices),), pool.kind == "real") for pool, indices in drawn]),
        )

    def _images(self, views: list[Future[NDArray[np.uint8]]]) -> Tensor:
        stacked = np.stack([view.result() for view in views])
        normal = torch.from_numpy(runtime.normalise(stacked, self.preprocess))
        return normal.contiguous(memory_format=torch.channels_last)

    def close(self) -> None:
        """Stops the background threads."""
        self._ahead.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)


def _classes(records: Path) -> NDArray[np.int64]:
    """The class of every synthetic image, ``(N,)``."""
    lines = records.read_text().splitlines()
    return np.asarray([json.loads(line)["class_id"] for line in lines], np.int64)
