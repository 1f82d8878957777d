"""Decoders by name: what images are optimized through (methods.md C.2).

A decoder's name is one of

    movq                   the VQModel of Kandinsky 2.2's decoder (16,384 codes, f = 8; downloaded
                           once)
    path/to/folder         a diffusers VQModel: config.json and safetensors
    petals-vq              the small VQModel of the embedded world
    pixels                 no network: the image itself, coarse to fine

Nothing is loaded to say what a name means.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, nearest
from compress.engine.hub import fingerprint_path
from compress.engine.stage import resolve
from compress.generate.base import Decoder

CONFIG_FILE, MODEL_CLASS = "config.json", "VQModel"
HAND = (
    "put its movq/ folder (config.json and safetensors) anywhere and say --set "
    "generate.inversion.decoder=FOLDER, or do "
    "without: --set generate.inversion.decoder=pixels"
)


@dataclass(frozen=True)
class Place:
    """Where a decoder's weights are and what loads them.

    Attributes:
        load: ``"module:function"`` of (place, settings, device, offline), imported when used:
            planning loads no torch.
        repository, subfolder: on the hub; "" = not from there.
        folder: on this disk.
        license: as its authors state it.
    """

    load: str
    repository: str = ""
    subfolder: str = ""
    folder: Path | None = None
    license: str = "unknown"


VQ, PIXELS = (
    "compress.generate.inversion.vq_decoder:load",
    "compress.generate.inversion.pixel_decoder:load",
)
DECODERS = {
    "movq": Place(VQ, "kandinsky-community/kandinsky-2-2-decoder", "movq", license="Apache-2.0"),
    "petals-vq": Place(
        VQ, folder=Path(__file__).parents[2] / "petals" / "weights" / "vq", license="Apache-2.0"
    ),
    "pixels": Place(PIXELS, license="none"),
}


def locate(name: str) -> Place:
    """What a decoder's name stands for.

    Raises:
        ConfigError: neither a known name nor the folder of a diffusers VQModel.
    """
    if name in DECODERS:
        return DECODERS[name]
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            "unknown decoder",
            got=repr(name),
            expected="a folder with a diffusers VQModel, or a known name",
            remedy=nearest(name, DECODERS),
        )
    config = folder / CONFIG_FILE
    found = json.loads(config.read_text()).get("_class_name") if config.is_file() else None
    if found != MODEL_CLASS or not any(folder.glob("*.safetensors")):
        raise ConfigError(
            "the decoder's folder is not a diffusers VQModel with safetensors",
            got=f"{folder}: {found or f'no {CONFIG_FILE}'}, files "
            f"{sorted(p.name for p in folder.iterdir())[:8]}",
            expected=f"{CONFIG_FILE} of a {MODEL_CLASS} and diffusion_pytorch_model.safetensors",
        )
    return Place(VQ, folder=folder)


def load_decoder(settings: GenerateSettings, device: str = "cpu", offline: bool = False) -> Decoder:
    """Loads the decoder that ``settings.inversion.decoder`` names (see the head of this file).

    Raises:
        ConfigError: no such decoder or folder, or an image size that it cannot make.
        DownloadError: the weights are neither in the local cache nor reachable.
        MissingExtraError: diffusers is not installed.
    """
    place = locate(settings.inversion.decoder)
    made: Decoder = resolve(place.load)(place, settings, device, offline)
    return made


def fingerprint(settings: GenerateSettings) -> dict[str, str]:
    """What identifies the decoder before it is loaded: local weights' content, published ones'
    name.
    """
    place = locate(settings.inversion.decoder)
    return {
        "decoder": fingerprint_path(place.folder) if place.folder else settings.inversion.decoder
    }


def missing(settings: GenerateSettings, online: bool) -> str | None:
    """What has to be placed by hand before the decoder can be loaded, or None.

    Raises:
        ConfigError: no such decoder.
    """
    from compress.engine.hub import cached

    place = locate(settings.inversion.decoder)
    if online or not place.repository or cached(place.repository):
        return None
    return f"decoder {settings.inversion.decoder} ({place.repository}): {HAND}"
