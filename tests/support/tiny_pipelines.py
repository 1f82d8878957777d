"""Tiny pipelines of the real diffusers classes, saved to disk as the published ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_generation import DECODER_SCHEDULE, PRIOR_SCHEDULE, save_tokenizer

WIDTH = 32  # E of the unCLIP pipeline
TOWER: dict[str, Any] = {
    "hidden_size": WIDTH,
    "projection_dim": WIDTH,
    "intermediate_size": 37,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}
SAMPLE = 8  # edge of the latents; the autoencoder's factor is 2


def save_stable_diffusion(folder: Path) -> None:
    """A ``StableDiffusionPipeline`` with random weights for images of 16 px."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    parts = _shared(folder)
    StableDiffusionPipeline(
        **parts,
        unet=_unet(),
        scheduler=DDIMScheduler(**_schedule()),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def save_unclip(folder: Path, *, label: int = 2 * WIDTH) -> None:
    """A ``StableUnCLIPImg2ImgPipeline`` with random weights.

    Args:
        label: width of the class label that its UNet takes.
    """
    from diffusers import DDIMScheduler, DDPMScheduler, StableUnCLIPImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
        StableUnCLIPImageNormalizer,
    )
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    parts = _shared(folder)
    vision = CLIPVisionConfig(**TOWER, image_size=28, patch_size=14)
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=WIDTH)
    normalizer.mean.data = 0.1 * torch.randn(1, WIDTH)
    normalizer.std.data = 0.5 + torch.rand(1, WIDTH)
    StableUnCLIPImg2ImgPipeline(
        **parts,
        unet=_unet(class_embed_type="projection", projection_class_embeddings_input_dim=label),
        scheduler=DDIMScheduler(**_schedule()),
        image_encoder=CLIPVisionModelWithProjection(vision),
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        image_normalizer=normalizer,
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    ).save_pretrained(folder)


def save_kandinsky(folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """``prior/`` and ``decoder/`` with random weights; the decoder predicts a variance, as the
    published one does.
    """
    from diffusers import (
        DDPMScheduler,
        KandinskyV22Pipeline,
        KandinskyV22PriorPipeline,
        PriorTransformer,
        UnCLIPScheduler,
        UNet2DConditionModel,
        VQModel,
    )
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(0)
    shared = {
        "hidden_size": WIDTH,
        "projection_dim": WIDTH,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    }
    text = CLIPTextModelWithProjection(
        CLIPTextConfig(**shared, bos_token_id=0, pad_token_id=1, eos_token_id=2, vocab_size=64)
    )
    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**shared, image_size=28, patch_size=14))
    transformer = PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1
    )
    transformer.clip_std = torch.nn.Parameter(torch.ones(transformer.clip_std.shape))
    save_tokenizer(folder / "tokenizer")
    KandinskyV22PriorPipeline(
        prior=transformer,
        image_encoder=vision,
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=UnCLIPScheduler(**PRIOR_SCHEDULE),
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
    ).save_pretrained(folder / "prior")
    unet = UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D", "AttnDownEncoderBlock2D"],
        up_block_types=["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    scheduler = DDPMScheduler(**DECODER_SCHEDULE)
    KandinskyV22Pipeline(unet=unet, scheduler=scheduler, movq=movq).save_pretrained(
        folder / "decoder"
    )


def _schedule() -> dict[str, Any]:
    return {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
    }


def _unet(**more: Any) -> torch.nn.Module:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=SAMPLE,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        **more,
    )


def _shared(folder: Path) -> dict[str, Any]:
    """Autoencoder, text encoder and tokenizer."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    text = CLIPTextConfig(**TOWER, bos_token_id=0, pad_token_id=1, eos_token_id=2, vocab_size=64)
    vae = AutoencoderKL(
        block_out_channels=(32, 64),
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    save_tokenizer(folder.with_name(f"{folder.name}_tokenizer"))
    tokenizer = CLIPTokenizer.from_pretrained(folder.with_name(f"{folder.name}_tokenizer"))
    return {"vae": vae, "text_encoder": CLIPTextModel(text), "tokenizer": tokenizer}
