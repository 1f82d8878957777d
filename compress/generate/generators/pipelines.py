"""What the adapters to diffusers' pipelines share: loading, schedulers, seeded noise, encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.engine.arithmetic import bf16_pays
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, MissingExtraError, require_known
from compress.engine.hub import fingerprint_tensors, hub, not_available
from compress.generate.generators.generator import Generator, GeneratorWeights, Sampling
from compress.teacher.weights import require_finite

if TYPE_CHECKING:
    import torch

# The only one for UNets that also predict a variance; others must not inherit ``variance_type``, or
# the pipeline hands them both halves and DPM-Solver++ cuts a channel.
LEARNED_VARIANCE = "DDPMScheduler"


class PipelineGenerator(Generator):
    """A generator of one or two pipelines, the last of which makes the images.

    Attributes:
        sides: names of its pipelines.
        schedulers: classes in diffusers that fit its last pipeline.

    Raises:
        ConfigError: a height that its autoencoder cannot make.
    """

    sides: ClassVar[tuple[str, ...]] = ("pipeline",)
    # Those that scale the model's input and take a list of torch generators.
    schedulers: ClassVar[tuple[str, ...]] = (
        "DDIMScheduler",
        "DDPMScheduler",
        "DPMSolverMultistepScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "UniPCMultistepScheduler",
    )

    def __init__(
        self, pipelines: Sequence[Any], settings: GenerateSettings, license: str = "unknown"
    ) -> None:
        self.pipelines = pipelines
        self.pipeline = pipelines[-1]
        self.settings = settings
        self.name = settings.generator
        self.license = license
        trained, factor = self.edges()
        self.image_size = settings.height or trained
        if self.image_size % factor:
            expected = f"a multiple of {factor}"
            what = "generate.height does not fit the generator"
            raise ConfigError(what, got=self.image_size, expected=expected)

    @classmethod
    def load(
        cls, settings: GenerateSettings, device: str, offline: bool, weights: GeneratorWeights
    ) -> Self:
        """From hub ids or folders in the precision of ``settings.dtype``; never reads pickles.

        Raises:
            ConfigError: a scheduler or a height that does not fit.
            DownloadError: neither on disk nor reachable.
        """
        import torch

        what = f"generator {settings.generator}"
        try:
            import diffusers
        except ImportError as error:
            remedy = "pip install 'clip2edge[build]'"
            raise MissingExtraError(f"{what} needs diffusers", remedy=remedy) from error
        dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        fastest = "bf16" if bf16_pays(torch.device(device)) else "fp32"
        dtypes["auto"] = dtypes[fastest]
        pipelines = []
        with hub(offline) as online:
            for where, kind in zip(weights.parts, weights.pipelines, strict=True):
                try:
                    pipeline = getattr(diffusers, kind).from_pretrained(
                        where,
                        torch_dtype=dtypes[settings.dtype],
                        use_safetensors=True,
                        local_files_only=not online,
                    )
                except (OSError, ValueError) as error:
                    raise not_available(what, error, place=weights.by_hand) from error
                for key, network in pipeline.components.items():
                    if isinstance(network, torch.nn.Module):
                        require_finite(network.state_dict(), f"{key} of {what}")
                pipeline.set_progress_bar_config(disable=True)
                pipelines.append(pipeline.to(device))
        cls.check(settings)
        if settings.scheduler is not None:
            set_scheduler(pipelines[-1], settings.scheduler, cls.schedulers)
        return cls(pipelines, settings, weights.license)

    @classmethod
    def check(cls, settings: GenerateSettings) -> None:
        """Refuses a scheduler that it cannot use."""
        if settings.scheduler is not None:
            what = "this generator cannot use the scheduler"
            require_known(settings.scheduler, cls.schedulers, what)

    def edges(self) -> tuple[int, int]:
        """The edge of the images it was trained on, and the factor of every edge, in pixels."""
        factor = int(self.pipeline.vae_scale_factor)
        return int(self.pipeline.unet.config.sample_size) * factor, factor

    def fingerprint(self) -> str:
        """SHA-256 over the tensors of every network."""
        tensors = {
            f"{side}.{key}.{name}": tensor
            for side, pipeline in zip(self.sides, self.pipelines, strict=True)
            for key, network in pipeline.components.items()
            if hasattr(network, "state_dict")
            for name, tensor in network.state_dict().items()
        }
        return fingerprint_tensors(tensors)

    def conditions(self, embeds: NDArray[np.float32]) -> torch.Tensor:
        """Checked embeddings ``(N, E)`` where its UNet is."""
        import torch

        unet = self.pipeline.unet
        return torch.from_numpy(self.checked(embeds)).to(unet.device, unet.dtype)

    def sample(
        self, seeds: Sequence[int], sampling: Sampling, **inputs: object
    ) -> NDArray[np.uint8]:
        """Images ``(N, S, S, 3)`` of its last pipeline for ``inputs``, each from its seed."""
        from compress.generate.generators.guidance import guided

        with guided(self.pipeline, sampling.guidance_scale, sampling.interval):
            output = self.pipeline(
                **inputs,
                height=self.image_size,
                width=self.image_size,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance_scale,
                generator=noise_generators(seeds),
                output_type="np",
            )
        return (np.asarray(output.images) * 255).round().astype(np.uint8)


def set_scheduler(pipeline: Any, name: str, allowed: Sequence[str]) -> None:
    """Replaces the scheduler by an allowed one with the trained noise schedule."""
    import diffusers

    require_known(name, allowed, "this generator cannot use the scheduler")
    drop = () if name == LEARNED_VARIANCE else ("variance_type",)
    config = pipeline.scheduler.config.items()
    kept = {key: value for key, value in config if key[0] != "_" and key not in drop}
    pipeline.register_modules(scheduler=getattr(diffusers, name).from_config(kept))


def encode_images(processor: Any, encoder: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """``(N, C, C, 3)`` -> raw ``image_embeds`` ``(N, E)`` of a transformers CLIP vision tower."""
    import torch

    if not len(images):
        return np.empty((0, int(encoder.config.projection_dim)), np.float32)
    pixels = processor([Image.fromarray(image) for image in images], return_tensors="pt")
    with torch.inference_mode():
        inputs = pixels.pixel_values.to(encoder.device, encoder.dtype)
        return to_numpy(encoder(inputs).image_embeds)


def noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One torch generator per image, on the CPU: the same noise on every device."""
    import torch

    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A tensor of any precision and device as a float32 array."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
