"""SIDCLIP's synthesis (OpenReview I5S1a1NKxo): a mix of the class name and the run's own shots.

    emb = w_0 * text(class name) + sum over i of w_i * image(x_i),   all w >= 0, sum of w = 1

The caption is exactly the class name. Embeddings are mixed raw, as in the paper and in diffusers'
``interpolate``; a generator that works on unit vectors normalizes in its own ``decode``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.seeds import derive, numpy_rng
from compress.generate.generators.generator import Generator
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.strategies.strategy import Strategy

# Shots per class -> weights of (text, *images); more than two shots: two of them (appendix A.1).
WEIGHTS: dict[int, tuple[float, ...]] = {0: (1.0,), 1: (0.4, 0.6), 2: (0.2, 0.4, 0.4)}
TOLERANCE = 1e-6  # of the sum of weights
# pair_mode -> the seed of the pair of shots: per image, or per class.
PAIR_SEEDS: dict[str, Callable[[int, Job], tuple[Any, ...]]] = {
    "resample": lambda run_seed, job: (job.seed, "pair"),
    "fixed": lambda run_seed, job: (run_seed, "generate", job.class_id, "pair"),
}


def weights_for(shots: int) -> tuple[float, ...]:
    """The paper's weights for a class with this many shots: text first, then images."""
    return WEIGHTS[min(shots, max(WEIGHTS))]


def mix(embeds: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """``sum of w_m * e_m`` over the first axis, ``(M, ..., E)`` -> ``(..., E)``.

    Raises:
        ValueError: the weights are not M, not all >= 0 or do not sum to 1 (diffusers checks M).
    """
    w = np.asarray(weights, np.float64)
    if len(w) != len(embeds) or (w < 0).any() or not abs(w.sum() - 1) < TOLERANCE:
        raise ValueError(
            f"{len(embeds)} embeddings need as many weights >= 0 that sum to 1, got {list(weights)}"
        )
    return np.asarray(np.tensordot(w, np.asarray(embeds, np.float64), axes=1), np.float32)


class Sidclip(Strategy):
    """The strategy; uses the class names and the run's shots."""

    def facts(self) -> dict[str, object]:
        """Weights per number of shots that occurs, and how pairs and priors are drawn."""
        counts = sorted({len(members) for members in self.sources.members})
        return {
            "weights": {str(count): list(weights_for(count)) for count in counts},
            "pair_mode": self.settings.pair_mode,
            "prior_per_image": self.settings.prior_per_image,
        }

    def generate(self, jobs: Sequence[Job], tool: Generator) -> GeneratedBatch:
        """Embeds, mixes and decodes one batch of jobs."""
        sources = self.sources
        captions = [sources.classes[job.class_id].prompt for job in jobs]
        of_class = [derive(sources.seed, "generate", job.class_id) for job in jobs]
        owners = [job.seed for job in jobs] if self.settings.prior_per_image else of_class
        texts = tool.embed_texts(captions, [derive(seed, "prior") for seed in owners])
        shots = sources.shot_embeds.of(tool, self.settings.batch)
        conditions = []
        records = []
        for job, caption, text in zip(jobs, captions, texts, strict=True):
            rows = self.source_rows(job)
            weights = weights_for(len(sources.members[job.class_id]))
            conditions.append(mix(np.concatenate([text[None], shots[rows]]), weights))
            record = job.record(
                "sidclip",
                tool.name,
                prompt=caption,
                source_ids=tuple(sources.keys[row] for row in rows),
                weights=weights,
                noise_level=self.sampling.noise_level,
                cond_embedding_ref=job.condition_ref,
            )
            records.append(record)
        embeds = np.stack(conditions)
        images = tool.decode(embeds, [derive(job.seed, "decode") for job in jobs], self.sampling)
        return GeneratedBatch(images, embeds, records)

    def source_rows(self, job: Job) -> list[int]:
        """The rows of the shots mixed into an image."""
        members = self.sources.members[job.class_id]
        count = len(weights_for(len(members))) - 1
        if count >= len(members):
            return [int(row) for row in members]
        rng = numpy_rng(*PAIR_SEEDS[self.settings.pair_mode](self.sources.seed, job))
        drawn = rng.choice(len(members), size=count, replace=False)
        return [int(row) for row in members[np.sort(drawn)]]
