"""What every decoder is: latents in, images out, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from compress.engine.errors import ConfigError

if TYPE_CHECKING:
    import torch

BY_HAND = (
    "put its movq/ folder (config.json and safetensors) anywhere and say --set "
    "generate.inversion.decoder=FOLDER, or do without: --set generate.inversion.decoder=pixels"
)


@dataclass(frozen=True)
class DecoderWeights:
    """Where a decoder's weights are, and what loads them.

    Attributes:
        load: ``"module:function"`` of (weights, settings, device, offline), imported on loading.
        repository: on the hub; "": not from there.
        subfolder: in the repository.
        folder: on this disk.
        license: as the authors state it.
    """

    load: str
    repository: str = ""
    subfolder: str = ""
    folder: Path | None = None
    license: str = "unknown"


class Decoder(Protocol):
    """What images are optimized through.

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


def require_whole_codes(name: str, image_size: int, blocks: int) -> int:
    """f, the pixels of a code's edge; ConfigError for an image size that is no multiple of it."""
    factor: int = 2 ** (blocks - 1)
    if image_size % factor:
        raise ConfigError(
            f"decoder {name} makes images of whole codes",
            got=f"generate.inversion.image_size={image_size}",
            expected=f"a multiple of {factor}",
        )
    return factor
