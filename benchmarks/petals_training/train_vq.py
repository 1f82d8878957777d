"""Phase ``vq``: the decoder ``petals-vq``, a small diffusers VQModel (VQ-VAE, van den Oord 2017).

Images of 32 px are 8 x 8 codes out of 512 (f = 4), four numbers each, as Kandinsky 2.2's movq has
64 x 64 codes out of 16,384 for 512 px.

Training has two parts. First a plain autoencoder; then its outputs become the codebook and all
parts learn together: squared error in pixels, the codebook and commitment terms, and a little of
1 - cosine of the teacher's features, so that the petals that distinguish species are not smoothed
away. Unused codes are moved onto encoder outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import VQModel
from open_clip import CLIP
from torch import Tensor
from torch.nn import functional

from benchmarks.petals_training.loop import Pictures, optimize, turned
from benchmarks.petals_training.phase import Phase
from compress.engine.seeds import manual_seed
from compress.petals.nets import INPUT_SIZE, pixels
from compress.petals.weights import WEIGHTS

FOLDER = "vq"  # below the weights, diffusers' layout
CODES = 512
CODE_DIM = 4
BATCH = 64
PICTURES = 40_000  # the first of the training flowers: a patch of 4 px needs no more
PLAIN_PART = 0.1  # of the steps, without a codebook
TEACHER_WEIGHT = 0.1
TEACHER_SHARE = 4  # one in so many images goes to the teacher, which costs as much as the decoder
COMMITMENT = 0.25  # beta of the paper
RESTART_EVERY = 100  # steps; the last fifth of the run has none


def new_vq() -> Any:
    """An untrained VQModel: 0.5 M parameters, most at 8 and 16 px, where steps are cheap."""
    widths = (16, 32, 56)
    return VQModel(
        sample_size=INPUT_SIZE,
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=CODE_DIM,
        num_vq_embeddings=CODES,
        mid_block_add_attention=False,
    )


def load_vq(folder: Path = WEIGHTS) -> Any:
    """The shipped VQModel, fp32 and frozen."""
    arguments = {"torch_dtype": torch.float32, "use_safetensors": True}
    return VQModel.from_pretrained(folder / FOLDER, **arguments).eval().requires_grad_(False)


def save_vq(model: Any, folder: Path = WEIGHTS) -> None:
    """vq/ in diffusers' folder layout, fp16."""
    model.half().save_pretrained(folder / FOLDER)


def train_vq(phase: Phase, pictures: Pictures, teacher: CLIP, samples: int) -> Any:
    """The trained VQModel, its codebook scaled to standard deviation 1 (see `rescale`)."""
    manual_seed(phase.seed, "embedded", phase.name)
    # group norm loses more in channels-last memory than convolutions gain
    model = new_vq().to(phase.device)
    steps = max(samples // BATCH, 1)
    plain = int(steps * PLAIN_PART)
    codebook = model.quantize.embedding
    used = torch.zeros(CODES, device=phase.device)
    state: dict[str, Any] = {"step": 0}

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = turned(pixels(pictures.images[rows], phase.device))
        with phase.autocast():
            latents = model.encode(images).latents
        latents = latents.float()
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        state["flat"] = flat.detach()
        if quantized := state["step"] >= plain:
            codes = torch.cdist(flat.detach(), codebook.weight.detach()).argmin(1)
            used.add_(torch.bincount(codes, minlength=CODES))
            nearest = codebook(codes)
            commitment = functional.mse_loss(flat, nearest.detach())
            pull = functional.mse_loss(nearest, flat.detach()) + COMMITMENT * commitment
            pull = pull / flat.detach().var()  # the latents have no scale of their own
            entry = nearest.view_as(latents.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            latents = latents + (entry - latents).detach()
        with phase.autocast():
            decoded = model.decode(latents, force_not_quantize=True).sample
            with torch.no_grad():
                goal = teacher.encode_image(phase.channels_last(images[::TEACHER_SHARE]))
            features = teacher.encode_image(phase.channels_last(decoded[::TEACHER_SHARE]))
        error = functional.mse_loss(decoded.float(), images)
        cosine = functional.cosine_similarity(features.float(), goal.float()).mean()
        loss = error + TEACHER_WEIGHT * (1 - cosine)
        if quantized:
            loss = loss + 0.1 * pull
        return loss, {"mse": error.item(), "teacher_cosine": cosine.item()}

    def revive(step: int) -> None:
        state["step"] = step + 1
        first = step + 1 == plain
        if first:
            used.zero_()
        due = (step - plain) % RESTART_EVERY == RESTART_EVERY - 1
        if first or (step >= plain and due and step < 0.8 * steps):
            restart(codebook.weight, used, state["flat"])
            used.zero_()

    optimize(
        phase,
        list(model.parameters()),
        loss_of,
        rows=min(PICTURES, len(pictures.images)),
        batch=BATCH,
        samples=samples,
        lr=2e-3,
        weight_decay=0.0,
        after=revive,
    )
    rescale(model)
    return model.eval()


@torch.no_grad()
def restart(codebook: Tensor, used: Tensor, latents: Tensor) -> None:
    """Moves rows of ``codebook`` (C, E) with ``used`` 0 onto random rows of ``latents`` (N, E)."""
    idle = (used == 0).nonzero()[:, 0]
    rows = torch.randint(len(latents), (len(idle),), device=latents.device)
    codebook[idle] = latents[rows]


@torch.no_grad()
def rescale(model: Any) -> None:
    """Scales the latent space to a codebook of standard deviation 1; images stay the same.

    One Adam step of 0.1 is then a tenth of that, whatever scale training ended at.
    """
    scale = 1 / model.quantize.embedding.weight.std()
    model.quant_conv.weight.mul_(scale)
    model.quant_conv.bias.mul_(scale)
    model.quantize.embedding.weight.mul_(scale)
    model.post_quant_conv.weight.div_(scale)
