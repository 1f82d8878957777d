"""SIDCLIP's synthesis: images decoded from a mix of the class name and the run's own shots
(methods.md B.2).

    emb = w_0 * text(class name) + sum over i of w_i * image(x_i),   all w >= 0, sum of w = 1

The caption is exactly the class name. Embeddings are mixed raw, as in the paper and as diffusers'
``interpolate`` does; a generator that works on unit vectors normalizes in its own ``decode``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.seeds import derive, numpy_rng
from compress.generate.base import (
    Generator,
    Input,
    Job,
    Made,
    Sources,
    SynthRecord,
    wanted_per_class,
)

# Shots per class -> (text; images). Two or more shots use two images [S, appendix A.1].
WEIGHTS: dict[int, tuple[float, ...]] = {0: (1.0,), 1: (0.4, 0.6), 2: (0.2, 0.4, 0.4)}
TOLERANCE = 1e-6


def weights_for(shots: int) -> tuple[float, ...]:
    """The weights of the paper for a class with this many shots: text first, then images."""
    return WEIGHTS[min(shots, max(WEIGHTS))]


def mix(embeds: NDArray[np.float32], weights: Sequence[float]) -> NDArray[np.float32]:
    """``sum of w_m * e_m`` over the first axis, ``(M, ..., E)`` -> ``(..., E)``.

    Raises:
        ValueError: the weights are not as many as the embeddings, negative, or do not sum to 1
            (diffusers checks only how many there are).
    """
    w = np.asarray(weights, np.float64)
    if len(w) != len(embeds) or (w < 0).any() or not abs(w.sum() - 1) < TOLERANCE:
        raise ValueError(
            f"{len(embeds)} embeddings need as many weights >= 0 that sum to 1, got {list(weights)}"
        )
    mixed: NDArray[np.float32] = np.tensordot(w, np.asarray(embeds, np.float64), axes=1).astype(
        np.float32
    )
    return mixed


class Sidclip:
    """The strategy; see the head of this file.

    Args:
        settings: ``per_class``, ``pair_mode``, ``prior_per_image``, ``steps``, ``guidance_scale``,
            ``batch``.
        sources: the class names and the run's shots.
    """

    tool: ClassVar[Literal["generator", "decoder"]] = "generator"
    needs: ClassVar[frozenset[Input]] = frozenset({"text", "image"})
    asks_teacher: ClassVar[bool] = False

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        self.settings, self.sources = settings, sources

    def per_class(self) -> int:
        """As set."""
        return wanted_per_class(self.settings, self.sources)

    def facts(self) -> dict[str, Any]:
        """The weights in use (one row per number of shots that occurs) and how pairs and priors are
        drawn.
        """
        counts = sorted({len(members) for members in self.sources.members})
        return {
            "weights": {str(count): list(weights_for(count)) for count in counts},
            "pair_mode": self.settings.pair_mode,
            "prior_per_image": self.settings.prior_per_image,
        }

    def make(self, jobs: Sequence[Job], tool: Generator) -> Made:
        """Embeds, mixes and decodes one batch of jobs."""
        settings = self.settings
        prior_seeds = [derive(self._prior_root(job), "prior") for job in jobs]
        texts = tool.embed_texts([self.caption(job.class_id) for job in jobs], prior_seeds)
        sources = [self.source_rows(job) for job in jobs]
        weights = [weights_for(len(self.sources.members[job.class_id])) for job in jobs]
        shots = self.sources.shot_embeds.of(tool, settings.batch)
        conditions = np.stack(
            [
                mix(np.concatenate([text[None], shots[list(rows)]]), w)
                for text, rows, w in zip(texts, sources, weights, strict=True)
            ]
        )
        seeds = [derive(job.seed, "decode") for job in jobs]
        images = tool.decode(
            conditions, seeds, settings.steps, settings.guidance_scale, settings.noise_level
        )
        records = [
            self._record(job, rows, w, tool)
            for job, rows, w in zip(jobs, sources, weights, strict=True)
        ]
        return Made(np.asarray(images), conditions, records)

    def caption(self, class_id: int) -> str:
        """Exactly the class name, no template."""
        return str(self.sources.classes[class_id]["prompt"])

    def source_rows(self, job: Job) -> tuple[int, ...]:
        """The shots mixed into an image, as rows of the run's shots."""
        members = self.sources.members[job.class_id]
        wanted = len(weights_for(len(members))) - 1
        if wanted >= len(members):
            return tuple(int(row) for row in members)
        drawn = PAIR_ROOT[self.settings.pair_mode](self, job).choice(
            len(members), size=wanted, replace=False
        )
        return tuple(int(row) for row in members[np.sort(drawn)])

    def _prior_root(self, job: Job) -> int:
        return (
            job.seed
            if self.settings.prior_per_image
            else derive(self.sources.seed, "generate", job.class_id)
        )

    def _record(
        self, job: Job, rows: tuple[int, ...], weights: tuple[float, ...], generator: Generator
    ) -> SynthRecord:
        return SynthRecord(
            path=f"synthetic.npy#{job.index}",
            class_id=job.class_id,
            method="sidclip",
            prompt=self.caption(job.class_id),
            style_id=None,
            source_ids=tuple(self.sources.keys[row] for row in rows),
            weights=weights,
            seed=job.seed,
            generator_id=generator.name,
            noise_level=self.settings.noise_level,
            cond_embedding_ref=f"conditions.npy#{job.index}",
        )


def _pair_per_image(strategy: Sidclip, job: Job) -> np.random.Generator:
    return numpy_rng(job.seed, "pair")


def _pair_per_class(strategy: Sidclip, job: Job) -> np.random.Generator:
    return numpy_rng(strategy.sources.seed, "generate", job.class_id, "pair")


# pair_mode -> where the pair's randomness comes from: a new pair for every image, or one for the
# class.
PAIR_ROOT: dict[str, Callable[[Sidclip, Job], np.random.Generator]] = {
    "resample": _pair_per_image,
    "fixed": _pair_per_class,
}
