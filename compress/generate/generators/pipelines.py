"""What the adapters to diffusers' pipelines share: loading, schedulers, seeded noise, encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, MissingExtraError, nearest
from compress.engine.hub import fingerprint_tensors, hub, not_available
from compress.generate.generators.weights import GeneratorWeights

if TYPE_CHECKING:
    import torch

# Those that fit Stable Diffusion's pipelines: they scale the model's input and take a list of
# torch generators.
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
)


class PipelineGenerator:
    """A generator that is one pipeline of the Stable Diffusion family.

    Raises:
        ConfigError: a height that its autoencoder cannot make.
    """

    def __init__(self, pipeline: Any, settings: GenerateSettings, license: str = "unknown") -> None:
        self.pipeline = pipeline
        self.name = settings.generator
        self.license = license
        factor = int(pipeline.vae_scale_factor)
        trained = int(pipeline.unet.config.sample_size) * factor
        self.image_size = checked_edge(settings.height or trained, factor)

    @classmethod
    def load(
        cls, settings: GenerateSettings, device: str, offline: bool, weights: GeneratorWeights
    ) -> Self:
        """From a hub id or a folder; raises as `load_generator`."""
        (where,) = weights.parts
        by_hand = (
            f"put {where} into a folder (as diffusers' save_pretrained writes it) and say "
            "--generator FOLDER"
        )
        parts = {where: weights.pipeline}
        (pipeline,) = load_pipelines(settings, device, offline, parts, by_hand)
        set_scheduler(pipeline, settings.scheduler, SCHEDULERS)
        return cls(pipeline, settings, weights.license)

    def fingerprint(self) -> str:
        """SHA-256 over the tensors of every network."""
        return fingerprint_pipelines(pipeline=self.pipeline)


def load_pipelines(
    settings: GenerateSettings, device: str, offline: bool, parts: Mapping[str, str], place: str
) -> list[Any]:
    """Loads pipelines in the precision of ``settings.dtype``; never reads pickled weights.

    Args:
        parts: a folder or hub id -> the name of its class in diffusers.
        place: how to place them by hand, for the error.

    Raises:
        DownloadError: neither on disk nor reachable.
        MissingExtraError: diffusers is not installed.
    """
    import torch

    what = f"generator {settings.generator}"
    try:
        import diffusers
    except ImportError as error:
        remedy = "pip install 'clip2edge[build]'"
        raise MissingExtraError(f"{what} needs diffusers", remedy=remedy) from error
    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    pipelines = []
    with hub(offline) as online:
        for where, kind in parts.items():
            try:
                pipeline = getattr(diffusers, kind).from_pretrained(
                    where,
                    torch_dtype=dtypes[settings.dtype],
                    use_safetensors=True,
                    local_files_only=not online,
                )
            except (OSError, ValueError) as error:
                raise not_available(what, error, place=place) from error
            pipeline.set_progress_bar_config(disable=True)
            pipelines.append(pipeline.to(device))
    return pipelines


def set_scheduler(
    pipeline: Any, name: str | None, allowed: Sequence[str], drop: Sequence[str] = ()
) -> None:
    """Replaces the scheduler by another with the trained noise schedule; None keeps it.

    Args:
        allowed: class names in diffusers that fit this pipeline.
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
    config = pipeline.scheduler.config.items()
    kept = {key: value for key, value in config if key[0] != "_" and key not in drop}
    pipeline.register_modules(scheduler=getattr(diffusers, name).from_config(kept))


def run_pipeline(
    pipeline: Any,
    edge: int,
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
    **inputs: object,
) -> NDArray[np.uint8]:
    """Images ``(N, edge, edge, 3)`` of a pipeline for its own ``inputs``, each from its seed."""
    output = pipeline(
        **inputs,
        height=edge,
        width=edge,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        generator=noise_generators(seeds),
        output_type="np",
    )
    return (np.asarray(output.images) * 255).round().astype(np.uint8)


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
    """Embeddings ``(N, E)`` of the generator's own width; a pipeline could broadcast others.

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
    """``(N, C, C, 3)`` -> raw ``image_embeds`` ``(N, E)`` of a transformers CLIP vision tower."""
    import torch

    if not len(images):
        return np.empty((0, int(encoder.config.projection_dim)), np.float32)
    pixels = processor([Image.fromarray(image) for image in images], return_tensors="pt")
    with torch.inference_mode():
        inputs = pixels.pixel_values.to(encoder.device, encoder.dtype)
        return to_numpy(encoder(inputs).image_embeds)


def fingerprint_pipelines(**pipelines: Any) -> str:
    """SHA-256 over the tensors of every network of the pipelines."""
    flat = {
        f"{side}.{key}.{name}": tensor
        for side, pipeline in pipelines.items()
        for key, network in pipeline.components.items()
        if hasattr(network, "state_dict")
        for name, tensor in network.state_dict().items()
    }
    return fingerprint_tensors(flat)


def noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One torch generator per image, on the CPU: the same noise on every device."""
    import torch

    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A tensor of any precision and device as a float32 array."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
