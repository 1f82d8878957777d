"""What a generator and a decoder can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from compress.engine.seeds import derive

if TYPE_CHECKING:
    import torch

Input = Literal["text", "image"]
TEXT: frozenset[Input] = frozenset({"text"})
IMAGE: frozenset[Input] = frozenset({"image"})


class Generator(Protocol):
    """Texts or image embeddings in, images out.

    Attributes:
        takes: "text": `draw` works; "image": `embed_images` and `decode` work.
        name: as in ``generate.generator``.
        license: of the weights.
        image_size: edge S of the generated images, in pixels.
        embed_dim: width E of the embeddings.
    """

    takes: frozenset[Input]
    name: str
    license: str
    image_size: int
    embed_dim: int

    def fingerprint(self) -> str:
        """Identifies the weights."""

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images ``(N, C, C, 3)`` of any edge -> raw embeddings ``(N, E)``."""

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Texts -> raw embeddings ``(N, E)``; a stochastic prior is sampled once per seed."""

    def decode(
        self,
        embeds: NDArray[np.float32],
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        noise_level: int = 0,
    ) -> NDArray[np.uint8]:
        """Embeddings ``(N, E)`` -> images ``(N, S, S, 3)``; image i follows row i and its seed.

        ``noise_level`` 0..999 is how much noise the embedding gets first (unCLIP): larger is more
        diverse.
        """

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """Texts -> images ``(N, S, S, 3)``; image i follows its text and its seed alone."""


class Decoder(Protocol):
    """Latents in, images out, with gradients: what images are optimized through.

    Attributes:
        name: as in ``generate.inversion.decoder``.
        license: of the weights.
        image_size: edge S of the rendered images, in pixels.
    """

    name: str
    license: str
    image_size: int

    def fingerprint(self) -> str:
        """Identifies the weights."""

    def start(self, seeds: Sequence[int]) -> torch.Tensor:
        """First latents ``(N, ...)``, row i from its own seed."""

    def render(self, latents: torch.Tensor) -> torch.Tensor:
        """Images ``(N, 3, S, S)`` in [0, 1]; a quantizer passes gradients straight through."""

    def clip_(self, latents: torch.Tensor) -> None:
        """Moves latents back into their bounds, in place."""


def draw_embedded(
    generator: Generator,
    texts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
) -> NDArray[np.uint8]:
    """`Generator.draw` for generators that decode image embeddings: through `embed_texts`."""
    embeds = generator.embed_texts(texts, [derive(seed, "prior") for seed in seeds])
    decode_seeds = [derive(seed, "decode") for seed in seeds]
    return generator.decode(embeds, decode_seeds, steps, guidance_scale)
