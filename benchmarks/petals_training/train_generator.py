"""Phases ``prior`` and ``generator``: text to image embedding, and image embedding to image.

Both learn from the teacher's embeddings of the training flowers, as the two halves of unCLIP do
(Ramesh et al. 2022). The decoder predicts v (Salimans & Ho 2022) on 2 x 2 pixel-unshuffled images.
Its condition is zero in 10 % of the samples, for classifier-free guidance, and slightly noisy
otherwise, because inference uses mixtures and draws of the prior. Time steps are logit-normal
(Esser et al. 2024): petals take shape at the middle noise levels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from open_clip import CLIP
from torch import Tensor
from torch.nn import functional

from benchmarks.petals_training.loop import Pictures, optimize, turned
from benchmarks.petals_training.phase import Phase
from benchmarks.petals_training.train_clip import encode_captions
from compress.engine.seeds import manual_seed, numpy_rng
from compress.petals.nets import EMBED_DIM, EMBED_SCALE, INPUT_SIZE, PetalPrior, pixels
from compress.petals.weights import Tokenizer

CONDITION_DROPPED = 0.1
CONDITION_NOISE = 0.1  # standard deviation, where the condition itself has 1
CAPTIONS_PER_IMAGE = 2  # for the prior


def new_unet() -> Any:
    """An untrained decoder (UNet2DConditionModel) of pixel-unshuffled images (B, 12, 16, 16).

    Its condition is an image embedding, ``added_cond_kwargs={"image_embeds": (B, 128)}`` times
    ``EMBED_SCALE``.
    """
    widths = (64, 128, 128)
    return UNet2DConditionModel(
        sample_size=INPUT_SIZE // 2,
        in_channels=12,
        out_channels=12,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        mid_block_type=None,
        norm_num_groups=16,
        cross_attention_dim=16,
        attention_head_dim=32,
        resnet_time_scale_shift="scale_shift",
        encoder_hid_dim=EMBED_DIM,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
    )


def new_scheduler() -> Any:
    """The DDIMScheduler of training and sampling: cosine, v-prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=True,
    )


@torch.no_grad()
def embed_all(phase: Phase, teacher: CLIP, images: np.ndarray) -> Tensor:
    """Unit image embeddings (N, D) of uint8 (N, 32, 32, 3), on the CPU."""
    out = []
    for start in range(0, len(images), 500):
        batch = pixels(images[start : start + 500], phase.device)
        with phase.autocast():
            embedding = teacher.encode_image(phase.channels_last(batch))
        out.append(functional.normalize(embedding.float(), dim=-1).cpu())
    return torch.cat(out)


def train_prior(
    phase: Phase, pictures: Pictures, tokenizer: Tokenizer, teacher: CLIP, samples: int
) -> PetalPrior:
    """Regression of image on text embeddings (1 - cosine), then the covariance of the residual."""
    manual_seed(phase.seed, "embedded", phase.name)
    rng = numpy_rng(phase.seed, "embedded", phase.name, "captions")
    image = embed_all(phase, teacher, pictures.images).repeat(CAPTIONS_PER_IMAGE, 1)
    parts = [
        encode_captions(phase, pictures, tokenizer, teacher, rng) for _ in range(CAPTIONS_PER_IMAGE)
    ]
    text = torch.cat(parts).cpu()
    prior = PetalPrior().to(phase.device)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        texts, images = (part[torch.from_numpy(rows)].to(phase.device) for part in (text, image))
        cosine = (prior(texts) * images).sum(1).mean()
        return 1 - cosine, {"cosine": cosine.item()}

    optimize(
        phase,
        list(prior.parameters()),
        loss_of,
        rows=len(text),
        batch=512,
        samples=samples,
        lr=2e-3,
        weight_decay=0.01,
    )
    with torch.no_grad():
        residual = image - prior.cpu()(text)
        covariance = torch.cov(residual.T) + 1e-5 * torch.eye(residual.shape[1])
        prior.spread.copy_(torch.linalg.cholesky(covariance))
    return prior.eval()


def train_decoder(
    phase: Phase,
    pictures: Pictures,
    teacher: CLIP,
    samples: int,
    *,
    turn: Callable[[Tensor], Tensor] = turned,
    batch: int = 64,
) -> Any:
    """The exponential moving average of the decoder; ``turn`` augments the pictures."""
    manual_seed(phase.seed, "embedded", phase.name)
    embeddings = embed_all(phase, teacher, pictures.images)
    unet = phase.place(new_unet())
    average = copy.deepcopy(unet).requires_grad_(False)
    signal = new_scheduler().alphas_cumprod.to(phase.device)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        image = functional.pixel_unshuffle(turn(pixels(pictures.images[rows], phase.device)), 2)
        condition = embeddings[torch.from_numpy(rows)].to(phase.device) * EMBED_SCALE
        condition = condition + CONDITION_NOISE * torch.randn_like(condition)
        condition = condition * (torch.rand(len(rows), 1, device=phase.device) >= CONDITION_DROPPED)
        time = (
            torch.sigmoid(1.2 * torch.randn(len(rows), device=phase.device)) * len(signal)
        ).long()
        level = signal[time][:, None, None, None]
        noise = torch.randn_like(image)
        noisy = level.sqrt() * image + (1 - level).sqrt() * noise
        velocity = level.sqrt() * noise - (1 - level).sqrt() * image
        with phase.autocast():
            guess = unet(
                phase.channels_last(noisy),
                time,
                None,
                added_cond_kwargs={"image_embeds": condition},
            ).sample
        return functional.mse_loss(guess.float(), velocity), {}

    def follow(step: int) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()),
                list(unet.parameters()),
                max(0.001, 1 / (1 + 0.1 * step)),
            )

    optimize(
        phase,
        list(unet.parameters()),
        loss_of,
        rows=len(pictures.images),
        batch=batch,
        samples=samples,
        lr=1e-3,
        weight_decay=0.01,
        betas=(0.9, 0.99),
        after=follow,
        schedule=lambda part: min(1.0, (1 - part) / 0.4),
    )
    return average.eval()


def save_prior(prior: Any, folder: Path) -> None:
    """prior/ in diffusers' folder layout, fp16."""
    prior.half().save_pretrained(folder / "prior")


def save_decoder(unet: Any, folder: Path) -> None:
    """unet/ and scheduler/ in diffusers' folder layout, fp16."""
    unet.half().save_pretrained(folder / "unet")
    new_scheduler().save_pretrained(folder / "scheduler")
