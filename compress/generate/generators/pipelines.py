"""What the adapters to diffusers' pipelines share: loading, schedulers, one generator of noise per
image, encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, MissingExtraError, nearest
from compress.engine.hub import fingerprint_tensors, hub, not_available
from compress.generate.generators.table import INDEX

if TYPE_CHECKING:
    import torch

# Schedulers that Stable Diffusion's pipelines work with: they scale the model's input and take a
# list of generators.
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
)


def load_pipelines(
    settings: GenerateSettings, device: str, offline: bool, parts: Mapping[str, str], place: str
) -> list[Any]:
    """Loads pipelines in the precision of ``settings.dtype``; pickled weights are never read.

    Args:
        parts: a folder or hub id -> the name of its class in diffusers.
        place: what to do where they cannot be had.

    Raises:
        DownloadError: neither on disk nor reachable.
        MissingExtraError: diffusers is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        what = f"generator {settings.generator} needs diffusers"
        raise MissingExtraError(what, remedy="pip install 'clip2edge[build]'") from error
    made = []
    with hub(offline) as online:
        for where, kind in parts.items():
            try:
                pipeline = getattr(diffusers, kind).from_pretrained(
                    where,
                    torch_dtype=dtype_named(settings.dtype),
                    use_safetensors=True,
                    local_files_only=not online,
                )
            except (OSError, ValueError) as error:
                raise not_available(
                    f"generator {settings.generator}", error, place=place
                ) from error
            pipeline.set_progress_bar_config(disable=True)
            made.append(pipeline.to(device))
    return made


def load_pipeline(
    settings: GenerateSettings, device: str, offline: bool, where: str, kind: str
) -> Any:
    """One pipeline of the Stable Diffusion family, with the scheduler of the settings.

    Raises:
        DownloadError: neither on disk nor reachable.
        ConfigError: an unknown scheduler.
        MissingExtraError: diffusers is not installed.
    """
    by_hand = (
        f"put {where} into a folder (as diffusers' save_pretrained writes it) and say "
        "--generator FOLDER"
    )
    (pipeline,) = load_pipelines(settings, device, offline, {where: kind}, by_hand)
    set_scheduler(pipeline, settings.scheduler, SCHEDULERS)
    return pipeline


def fetch_index(repository: str, offline: bool) -> Path:
    """The model_index.json of a pipeline on the hub, downloaded or from the local cache.

    Raises:
        DownloadError: neither in the cache nor reachable, or no such repository.
    """
    from huggingface_hub import hf_hub_download

    with hub(offline) as online:
        try:
            return Path(hf_hub_download(repository, INDEX, local_files_only=not online))
        except (OSError, ValueError) as error:  # every error of huggingface_hub is one of these
            place = f"put the pipeline of {repository} into a folder and say --generator FOLDER"
            raise not_available(f"generator {repository}", error, place=place) from error


def set_scheduler(
    pipeline: Any, name: str | None, allowed: Sequence[str], drop: Sequence[str] = ()
) -> None:
    """Replaces the pipeline's scheduler by another with the noise schedule it was trained with;
    None keeps it.

    Args:
        allowed: class names in diffusers that this pipeline works with.
        drop: entries of the old scheduler's config that the new one must not inherit.

    Raises:
        ConfigError: another name.
    """
    import diffusers

    if name is None:
        return
    if name not in allowed:
        raise ConfigError(
            "this generator cannot use the scheduler", got=repr(name), remedy=nearest(name, allowed)
        )
    kept = {
        key: value
        for key, value in pipeline.scheduler.config.items()
        if key[0] != "_" and key not in drop
    }
    pipeline.register_modules(scheduler=getattr(diffusers, name).from_config(kept))


def edge_of(pipeline: Any, settings: GenerateSettings) -> int:
    """Edge in pixels of the images of a Stable Diffusion: ``generate.height``, or the one it was
    trained at.

    Raises:
        ConfigError: a height that its autoencoder cannot make.
    """
    factor = int(pipeline.vae_scale_factor)
    edge = settings.height or int(pipeline.unet.config.sample_size) * factor
    return checked_edge(edge, factor)


def checked_edge(edge: int, factor: int) -> int:
    """``edge``, if it is a multiple of ``factor``.

    Raises:
        ConfigError: it is not.
    """
    if edge % factor:
        raise ConfigError(
            "generate.height does not fit the generator",
            got=edge,
            expected=f"a multiple of {factor}",
        )
    return edge


def checked_embeds(embeds: NDArray[np.float32], width: int, generator: str) -> NDArray[np.float32]:
    """Embeddings ``(N, E)`` of the generator's own width, as float32: a wrong width could broadcast
    in a pipeline.

    Raises:
        ConfigError: another shape.
    """
    if embeds.ndim != 2 or embeds.shape[1] != width:
        raise ConfigError(
            f"these are no embeddings of generator {generator}",
            got=f"shape {embeds.shape}",
            expected=f"(N, {width})",
            remedy="embeddings of ViT-L (768), ViT-H (1024) and ViT-bigG (1280) are of "
            "different spaces",
        )
    return np.asarray(embeds, np.float32)


def encode_images(processor: Any, encoder: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``(N, C, C, 3)`` uint8 -> the raw ``image_embeds`` ``(N, E)`` of a CLIP vision tower of
    transformers.
    """
    import torch

    if not len(images):
        return np.empty((0, int(encoder.config.projection_dim)), np.float32)
    pictures = [Image.fromarray(np.asarray(image)) for image in images]
    pixels = processor(pictures, return_tensors="pt").pixel_values
    with torch.inference_mode():
        return to_numpy(encoder(pixels.to(encoder.device, encoder.dtype)).image_embeds)


def fingerprint_pipelines(pipelines: Mapping[str, Any]) -> str:
    """SHA-256 over the tensors of every network of the pipelines."""
    flat = {
        f"{side}.{key}.{name}": tensor
        for side, pipeline in pipelines.items()
        for key, network in pipeline.components.items()
        if hasattr(network, "state_dict")
        for name, tensor in network.state_dict().items()
    }
    return fingerprint_tensors(flat)


def to_uint8(images: Any) -> NDArray[np.uint8]:
    """A pipeline's ``output_type="np"`` images ``(N, S, S, 3)`` in [0, 1] -> uint8."""
    made: NDArray[np.uint8] = (np.asarray(images) * 255).round().astype(np.uint8)
    return made


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per image, on the CPU: the same noise on every device."""
    import torch

    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def dtype_named(name: str) -> torch.dtype:
    """``fp32``, ``fp16`` or ``bf16``."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A tensor of any precision and device as a float32 array."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
