"""Where the weights of a decoder are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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


BY_HAND = (
    "put its movq/ folder (config.json and safetensors) anywhere and say --set "
    "generate.inversion.decoder=FOLDER, or do without: --set generate.inversion.decoder=pixels"
)
