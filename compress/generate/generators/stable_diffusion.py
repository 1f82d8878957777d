"""Stable Diffusion 2.1 (diffusers): text in, images out; it has no image embeddings.

The safety checker is whatever the saved pipeline has; the 2.1 weights come without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.errors import ConfigError
from compress.generate.generators.pipelines import PipelineGenerator, run_pipeline
from compress.generate.protocols import TEXT


class StableDiffusion(PipelineGenerator):
    """A ``StableDiffusionPipeline``."""

    takes = TEXT
    embed_dim = 0

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """``(N, S, S, 3)`` uint8; the unconditional branch of guidance is the empty prompt."""
        return run_pipeline(
            self.pipeline, self.image_size, seeds, steps, guidance_scale, prompt=list(texts)
        )

    def _refuse(self, *inputs: object, **named: object) -> Any:
        raise ConfigError(
            f"generator {self.name} takes text only",
            remedy="use its unCLIP sibling, or kandinsky-2.2",
        )

    # Its text encoding is a sequence, not a point of an image space.
    embed_images = embed_texts = decode = _refuse
