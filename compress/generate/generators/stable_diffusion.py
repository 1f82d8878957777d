"""Stable Diffusion 2.1 (diffusers): text in, images out; it has no image embeddings.

The safety checker is whatever the saved pipeline has; the 2.1 weights come without one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress.generate.generators.generator import TEXT, Sampling
from compress.generate.generators.pipelines import PipelineGenerator


class StableDiffusion(PipelineGenerator):
    """A ``StableDiffusionPipeline``; its text encoding is a sequence, not a point of a space."""

    takes = TEXT
    embed_dim = 0

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], sampling: Sampling
    ) -> NDArray[np.uint8]:
        """``(N, S, S, 3)`` uint8; the unconditional branch of guidance is the empty prompt."""
        return self.sample(seeds, sampling, prompt=list(texts))
