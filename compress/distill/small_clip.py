"""A published small CLIP as the student's first weights: SIDCLIP's "I" with public models.

Any open_clip model with a timm image tower, saved in open_clip's folder format, can stand in for
SIDCLIP's unpublished one (MobileCLIP and the like; say which in what you publish). The student gets
the tower, its projection and its logit scale, and its classifier starts as the small CLIP's own
text embeddings: before any training it is that model's zero-shot classifier. Its space is not the
teacher's, so feature distillation learns a projector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.teacher.loading import folder_config, load_clip, require_folder
from compress.teacher.sources import Folder


@dataclass(frozen=True)
class SmallClip:
    """What a student takes from a small CLIP."""

    weights: dict[str, Tensor]  # ``trunk.*``, ``proj.weight`` (D, F) and ``logit_scale``
    text_head: Tensor  # (K, D) unit rows, the class texts in its own space
    mean: tuple[float, float, float]  # normalization of its images
    std: tuple[float, float, float]


def require_tower(folder: Path, arch: str) -> None:
    """Raises ConfigError for a folder that is no small CLIP of a timm network; loads nothing."""
    source = Folder(folder)
    require_folder(source)
    vision = folder_config(source).get("vision_cfg")
    name = vision.get("timm_model_name") if isinstance(vision, dict) else None
    if not name:
        got = f"no timm_model_name in {folder}"
        expected = "a timm network with a projection"
        raise ConfigError("this small CLIP cannot start a student", got=got, expected=expected)
    _require_same(str(name).partition(".")[0], arch)


def _require_same(tower: str, arch: str) -> None:
    if tower != arch:
        what = f"the small CLIP's image tower is another network than student {arch}"
        raise ConfigError(what, got=tower, remedy=f"--student {tower}")


def read_small_clip(folder: Path, arch: str, prompts: Sequence[Sequence[str]]) -> SmallClip:
    """The small CLIP in an open_clip folder; ConfigError if its tower is not this timm network."""
    small = load_clip(TeacherSettings(name=str(folder)), offline=True)
    visual = small.model.visual
    projection = getattr(getattr(visual, "head", None), "proj", None)
    if not hasattr(visual, "trunk") or not isinstance(projection, torch.nn.Linear):
        got = f"image tower {type(visual).__name__} in {folder}"
        expected = "a timm network with a linear projection"
        raise ConfigError("this small CLIP cannot start a student", got=got, expected=expected)
    config = getattr(visual.trunk, "pretrained_cfg", {})
    tower = str(config.get("architecture", "")) or type(visual.trunk).__name__
    _require_same(tower, arch)
    weights = {f"trunk.{name}": value for name, value in visual.trunk.state_dict().items()}
    weights["proj.weight"] = projection.weight.detach()
    weights["logit_scale"] = small.model.logit_scale.detach()
    head = torch.from_numpy(small.class_head(prompts))
    return SmallClip(weights, head, small.spec.mean, small.spec.std)
