"""Model FLOPs of an image: what a strategy asks of its generator or decoder, call by call.

The calls are those of the adapters in ``compress/generate/generators`` and of the pipelines of
diffusers behind them: guidance doubles the passes of a UNet or a prior, every call of Kandinsky
encodes an all-zero image for the other branch, the embedded generator pads a call to 32 rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from compress.cost.counting import INPUT_GRADIENT, NotCountable
from compress.cost.networks import count_part, count_teacher, timm_edge
from compress.cost.published import GeneratorConfigs, decoder_config, generator_configs
from compress.engine.config import GenerateSettings
from compress.generate.generators.guidance import guided_steps
from compress.generate.strategies.table import has_styles, strategy_row
from compress.teacher.sources import has_text

PETALS_CHUNK = 32  # rows of a call, as in compress/petals/generator.py
EXTRA_CALLS = {"PNDMScheduler": 1}  # calls of the UNet beyond ``generate.steps``
PRIOR_PASSES = 2  # Kandinsky's prior is guided: PRIOR_GUIDANCE is 4


@dataclass(frozen=True)
class ImageCost:
    """FLOPs of one generated image by what computes them, and what comes with each call.

    Attributes:
        per_call: of a batch, whatever its size.
        shot: of encoding one shot; each is encoded once.
        width: entries of the condition that is kept beside an image.
        chunk: rows that a call is padded to; 1: none.
    """

    text: int = 0
    prior: int = 0
    denoiser: int = 0
    autoencoder: int = 0
    teacher: int = 0
    per_call: int = 0
    shot: int = 0
    width: int = 0
    chunk: int = 1
    teacher_calls: int = 0  # images that the teacher sees for it

    @property
    def flops(self) -> int:
        """All that grows with the images."""
        return self.text + self.prior + self.denoiser + self.autoencoder + self.teacher

    def of(self, images: int, batch: int, shots: int) -> int:
        """FLOPs of so many images in batches, the last of them full, and of encoding the shots."""
        calls = -(-images // batch)
        rows = calls * self._padded(batch)
        whole, rest = divmod(shots, batch)
        encoded = whole * self._padded(batch) + self._padded(rest)
        return rows * self.flops + calls * self.per_call + encoded * self.shot

    def _padded(self, rows: int) -> int:
        return -(-rows // self.chunk) * self.chunk


def image_cost(settings: GenerateSettings, teacher: str) -> ImageCost | None:
    """An image of these settings; None if the networks of its generator are not known here.

    Args:
        teacher: name of the run's teacher, which inversion asks.

    Raises:
        ConfigError: no such strategy, generator or decoder.
    """
    row = strategy_row(settings.strategy)
    if row.tool == "decoder":
        return _inversion(settings, teacher)
    if row.tool != "generator":
        return ImageCost()  # drawn by numpy, or nothing
    configs = generator_configs(settings.generator)
    if configs is None:
        return None
    try:
        return _COSTS[configs.kind](settings, configs, "text" in row.needs, "image" in row.needs)
    except (KeyError, NotCountable):  # a folder with other networks than its kind has
        return None


def _petals(
    settings: GenerateSettings, configs: GeneratorConfigs, texts: bool, images: bool
) -> ImageCost:
    from compress.cost.networks import count_clip
    from compress.teacher.sources import Folder

    assert configs.teacher is not None
    towers = count_clip(Folder(configs.teacher))
    unet = configs.parts["unet"]
    denoiser = count_part("unet", unet, int(unet["sample_size"]))
    prior = count_part("prior", configs.parts["prior"])
    return ImageCost(
        text=towers.text.flops if texts and towers.text else 0,
        prior=prior.flops if texts else 0,
        denoiser=_calls(settings, settings.guidance_scale != 1) * denoiser.flops,
        shot=towers.image.flops if images else 0,
        width=prior.width if images else 0,
        chunk=PETALS_CHUNK,
    )


def _kandinsky(
    settings: GenerateSettings, configs: GeneratorConfigs, texts: bool, images: bool
) -> ImageCost:
    text = prior = calls = 0
    encoder = count_part("image_encoder", configs.parts["image_encoder"])
    if texts:
        text = count_part("text_encoder", configs.parts["text_encoder"]).flops
        if settings.text_via_prior:
            text *= PRIOR_PASSES
            counted = count_part("prior", configs.parts["prior"])
            prior = settings.prior_steps * PRIOR_PASSES * counted.flops
            calls += encoder.flops  # of the all-zero image
    return ImageCost(
        text=text,
        prior=prior,
        denoiser=_unet(settings, configs),
        autoencoder=_autoencoder(settings, configs, "movq"),
        per_call=calls + encoder.flops,
        shot=encoder.flops if images else 0,
        width=encoder.width if images else 0,
    )


def _stable_diffusion(
    settings: GenerateSettings, configs: GeneratorConfigs, texts: bool, images: bool
) -> ImageCost:
    passes = _passes(settings)
    return ImageCost(
        text=passes * count_part("text_encoder", configs.parts["text_encoder"]).flops,
        denoiser=_unet(settings, configs),
        autoencoder=_autoencoder(settings, configs, "vae"),
    )


def _unclip(
    settings: GenerateSettings, configs: GeneratorConfigs, texts: bool, images: bool
) -> ImageCost:
    passes = _passes(settings)
    encoder = count_part("image_encoder", configs.parts["image_encoder"])
    return ImageCost(
        # its prompts are empty, and encoded all the same
        text=passes * count_part("text_encoder", configs.parts["text_encoder"]).flops,
        denoiser=_unet(settings, configs),
        autoencoder=_autoencoder(settings, configs, "vae"),
        shot=encoder.flops,
        width=encoder.width,
    )


_COSTS = {
    "petals": _petals,
    "kandinsky": _kandinsky,
    "stable_diffusion": _stable_diffusion,
    "unclip": _unclip,
}


def _inversion(settings: GenerateSettings, teacher: str) -> ImageCost | None:
    """Every step renders the image and shows its cut-outs, with gradients of the latents alone.

    An image in a style is shown once more, to see whether the style is recognized.
    """
    options = settings.inversion
    asked = count_teacher(teacher)
    if asked is None:
        return None
    if strategy_row(settings.strategy).asks_names:
        return _deep_inversion(settings, teacher, asked.image.flops)
    config = decoder_config(options.decoder)
    render = 0
    if config is not None:
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        try:
            render = count_part("movq", config, options.image_size // factor).flops
        except NotCountable:
            return None
    each = options.snapshots  # of a trajectory, whose steps they share
    steps = options.steps + (each - 1) * options.snapshot_steps
    cuts = -(-steps * options.cutouts // each)
    looks = int(has_styles(settings))
    return ImageCost(
        autoencoder=(steps * INPUT_GRADIENT + each) * render // each,
        teacher=(cuts * INPUT_GRADIENT + looks) * asked.image.flops,
        width=asked.image.width,
        teacher_calls=cuts + looks,
    )


def _deep_inversion(settings: GenerateSettings, teacher: str, flops: int) -> ImageCost:
    """Every step shows the image at its own size: the work of convolutions follows its pixels."""
    options = settings.inversion
    scale = 1.0 if has_text(teacher) else (options.image_size / timm_edge(teacher)) ** 2
    shown = round(scale * flops)
    return ImageCost(teacher=options.steps * INPUT_GRADIENT * shown, teacher_calls=options.steps)


def _passes(settings: GenerateSettings) -> int:
    """Of the text encoder: with and without a text where diffusers guides."""
    return 2 if settings.guidance_scale > 1 else 1


def _calls(settings: GenerateSettings, guides: bool, extra: int = 0) -> int:
    """Passes of the denoiser: two at the steps that are guided."""
    steps = settings.steps + extra
    return steps + (guided_steps(steps, settings.guidance_interval) if guides else 0)


def _unet(settings: GenerateSettings, configs: GeneratorConfigs) -> int:
    """The UNet in all its passes."""
    extra = EXTRA_CALLS.get(settings.scheduler or configs.scheduler or "", 0)
    calls = _calls(settings, settings.guidance_scale > 1, extra)
    edge = configs.latent_edge(settings)
    return calls * count_part("unet", configs.parts["unet"], edge).flops


def _autoencoder(settings: GenerateSettings, configs: GeneratorConfigs, part: str) -> int:
    return count_part(part, configs.parts[part], configs.latent_edge(settings)).flops
