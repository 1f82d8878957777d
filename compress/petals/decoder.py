"""The embedded image decoder ``petals-vq``: a small diffusers VQModel that images are optimized
through.

32 px images are 8 x 8 codes out of 512 (f = 4), four numbers each, as Kandinsky 2.2's movq has 64 x
64 codes out of 16,384 for 512 px. Loading needs nothing of its own: the folder is a VQModel like
    any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import VQModel
from torch.nn import functional

from compress.petals.nets import INPUT_SIZE
from compress.petals.rendering import pixels
from compress.petals.weights import WEIGHTS, load_teacher
from compress.petals.world import SPECIES, render_species

FOLDER = "vq"
CODES, CODE_DIM = 512, 4


def new_vq() -> Any:
    """An untrained VQModel (0.5 M parameters, most of them at 8 and 16 px so that a step costs
    little).
    """
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
    model = VQModel.from_pretrained(
        folder / FOLDER, torch_dtype=torch.float32, use_safetensors=True
    )
    return model.eval().requires_grad_(False)


def save_vq(model: Any, folder: Path = WEIGHTS) -> None:
    """vq/ in diffusers' folder layout, fp16."""
    model.half().save_pretrained(folder / FOLDER)


@torch.no_grad()
def measure_vq(folder: Path = WEIGHTS) -> dict[str, float]:
    """How true test photos of the held-out species (8 each) stay through encoder, codebook and
    decoder.

    ``psnr_db`` of the pixels, ``teacher_cosine`` between the teacher's features of photo and
    reconstruction, and the share of codes in use.
    """
    model, (teacher, _) = load_vq(folder), load_teacher(folder)
    rows = [(species, index) for species in range(len(SPECIES)) for index in range(8)]
    images = pixels(render_species([row[0] for row in rows], "test", [row[1] for row in rows]))
    latents = model.encode(images).latents
    _, _, (_, _, codes) = model.quantize(latents)
    decoded = model.decode(latents).sample.clamp(-1, 1)
    errors = ((decoded - images) / 2).square().mean((1, 2, 3))
    cosine = functional.cosine_similarity(
        teacher.encode_image(decoded), teacher.encode_image(images)
    )
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "psnr_db": round((-10 * errors.log10()).mean().item(), 2),
        "teacher_cosine": round(cosine.mean().item(), 4),
        "codes_used": round(len(codes.unique()) / CODES, 4),
    }
