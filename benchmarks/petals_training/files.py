"""Writes the networks: fp16 on disk, in the layouts of open_clip and diffusers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compress.petals.weights import TEACHER

if TYPE_CHECKING:
    from torch import Tensor


def write_json(path: Path, content: object) -> None:
    """A JSON file as in the weights folder; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file with the floating tensors rounded to fp16."""
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {
        name: tensor.detach()
        .to("cpu", torch.float16 if tensor.is_floating_point() else tensor.dtype)
        .contiguous()
        for name, tensor in tensors.items()
    }
    save_file(rounded, path, metadata={"format": "pt"})


def save_teacher(state: Mapping[str, Tensor], vocabulary_size: int, out: Path) -> None:
    """teacher/ in open_clip's folder format."""
    from compress.petals.nets import INPUT_SIZE, MEAN, STD, clip_config

    write_tensors(out / TEACHER / "open_clip_model.safetensors", state)
    preprocess = {
        "size": INPUT_SIZE,
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    config = {"model_cfg": clip_config(vocabulary_size), "preprocess_cfg": preprocess}
    write_json(out / TEACHER / "open_clip_config.json", config)
