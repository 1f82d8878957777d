"""Decoders by name: what images are optimized through.

A decoder's name is one of

    movq                   the VQModel of Kandinsky 2.2's decoder (16,384 codes, f = 8; downloaded
                           once)
    path/to/folder         a diffusers VQModel: config.json and safetensors
    petals-vq              the small VQModel of the embedded world
    pixels                 no network: the image itself, coarse to fine
"""

from __future__ import annotations

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, nearest
from compress.engine.hub import cached, fingerprint_path
from compress.engine.stage import resolve
from compress.engine.text import read_object, user_path
from compress.generate.inversion.decoder import (
    BY_HAND,
    Decoder,
    DecoderWeights,
    require_whole_codes,
)
from compress.petals.weights import WEIGHTS

CONFIG_FILE = "config.json"
VQ = "compress.generate.inversion.vq_decoder:load"
PIXELS = "compress.generate.inversion.pixel_decoder:load"
# generate.inversion.decoder -> decoder. To add one: a file with a load function and a row.
DECODERS = {
    "movq": DecoderWeights(
        VQ, "kandinsky-community/kandinsky-2-2-decoder", "movq", license="Apache-2.0"
    ),
    "petals-vq": DecoderWeights(VQ, folder=WEIGHTS / "vq", license="Apache-2.0"),
    "pixels": DecoderWeights(PIXELS, license="none"),
}


def locate(name: str) -> DecoderWeights:
    """What a decoder's name stands for.

    Raises:
        ConfigError: neither a known name nor the folder of a diffusers VQModel.
    """
    if name in DECODERS:
        return DECODERS[name]
    folder = user_path(name)
    if not folder.is_dir():
        raise ConfigError(
            "unknown decoder",
            got=repr(name),
            expected="a folder with a diffusers VQModel, or a known name",
            remedy=nearest(name, DECODERS),
        )
    config = folder / CONFIG_FILE
    kind = read_object(config).get("_class_name") if config.is_file() else None
    if kind != "VQModel" or not any(folder.glob("*.safetensors")):
        files = sorted(path.name for path in folder.iterdir())[:8]
        raise ConfigError(
            "the decoder's folder is not a diffusers VQModel with safetensors",
            got=f"{folder}: {kind or f'no {CONFIG_FILE}'}, files {files}",
            expected=f"{CONFIG_FILE} of a VQModel and diffusion_pytorch_model.safetensors",
        )
    return DecoderWeights(VQ, folder=folder)


def check_size(settings: GenerateSettings) -> None:
    """Raises ConfigError for an image size that a decoder on this disk cannot render."""
    options = settings.inversion
    folder = locate(options.decoder).folder
    if folder is not None:
        config = read_object(folder / CONFIG_FILE)
        require_whole_codes(options.decoder, options.image_size, len(config["block_out_channels"]))


def load_decoder(settings: GenerateSettings, device: str = "cpu", offline: bool = False) -> Decoder:
    """Loads the decoder that ``settings.inversion.decoder`` names.

    Raises:
        ConfigError: no such decoder or folder, or an image size that it cannot render.
        DownloadError: the weights are neither in the local cache nor reachable.
    """
    weights = locate(settings.inversion.decoder)
    decoder: Decoder = resolve(weights.load)(weights, settings, device, offline)
    return decoder


def fingerprint(settings: GenerateSettings) -> dict[str, str]:
    """Identifies the decoder before it is loaded: content if local, the name if published."""
    name = settings.inversion.decoder
    folder = locate(name).folder
    return {"decoder": fingerprint_path(folder) if folder else name}


def missing(settings: GenerateSettings, online: bool) -> str | None:
    """What has to be placed by hand before the decoder can be loaded, or None."""
    name = settings.inversion.decoder
    repository = locate(name).repository
    if online or not repository or cached(repository):
        return None
    return f"decoder {name} ({repository}): {BY_HAND}"
