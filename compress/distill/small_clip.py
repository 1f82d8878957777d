"""A published small CLIP as the student's first weights: SIDCLIP's "I" with public models.

Any open_clip model, saved in open_clip's folder format or in that of transformers, can stand in for
SIDCLIP's unpublished one (MobileCLIP, TinyCLIP and the like; say which in what you publish), if its
image tower is a timm network, or a plain vision transformer: the student is then timm's network of
the same shape (TinyCLIP's is ``vit_xsmall_patch16_clip_224``). The student gets the tower, its
projection and its logit scale, and its classifier starts as the small CLIP's own text embeddings:
before any training it is that model's zero-shot classifier. Its space is not the teacher's, so
feature distillation learns a projector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.teacher.loading import folder_config, load_clip, require_folder
from compress.teacher.sources import Folder, TransformersFolder, locate
from compress.teacher.transformers_clip import model_config, weights_of
from compress.teacher.weights import first_line

EXPECTED = "a timm network with a linear projection, or a vision transformer"


@dataclass(frozen=True)
class SmallClip:
    """What a student takes from a small CLIP."""

    weights: dict[str, Tensor]  # ``trunk.*``, ``proj.weight`` (D, F) and ``logit_scale``
    text_head: Tensor  # (K, D) unit rows, the class texts in its own space
    mean: tuple[float, float, float]  # normalization of its images
    std: tuple[float, float, float]


def require_tower(folder: Path, arch: str) -> None:
    """Raises ConfigError for a folder that is no small CLIP of this network; loads no weights."""
    source = locate(str(folder))
    if isinstance(source, TransformersFolder):
        weights_of(folder)
        vision = model_config(folder)["vision_cfg"]
    else:
        require_folder(Folder(folder))
        vision = folder_config(Folder(folder)).get("vision_cfg")
    vision = vision if isinstance(vision, dict) else {}
    if name := vision.get("timm_model_name"):
        _require_same(str(name).partition(".")[0], arch)
    elif isinstance(vision.get("layers"), int):
        import timm
        from timm.models.vision_transformer import VisionTransformer

        with torch.device("meta"):
            net: Any = timm.create_model(arch, num_classes=0)
        is_same = isinstance(net, VisionTransformer) and (
            len(net.blocks),
            net.embed_dim,
            net.patch_embed.patch_size[0],
        ) == (vision["layers"], vision.get("width", 768), vision.get("patch_size"))
        if not is_same:
            _refuse_transformer(arch, f"{vision['layers']} layers of {vision.get('width', 768)}")
    else:
        got = f"neither timm_model_name nor a vision transformer in {folder}"
        raise ConfigError("this small CLIP cannot start a student", got=got, expected=EXPECTED)


def _refuse_transformer(arch: str, got: str) -> NoReturn:
    raise ConfigError(
        f"the small CLIP's image tower is another network than student {arch}",
        got=got,
        expected="timm's vision transformer of the same shape and activation",
        remedy="e.g. --student vit_xsmall_patch16_clip_224 for TinyCLIP 8M, "
        "vit_base_patch32_clip_quickgelu_224 for ViT-B-32 of OpenAI",
    )


def _require_same(tower: str, arch: str) -> None:
    if tower != arch:
        what = f"the small CLIP's image tower is another network than student {arch}"
        raise ConfigError(what, got=tower, remedy=f"--student {tower}")


def read_small_clip(folder: Path, arch: str, prompts: Sequence[Sequence[str]]) -> SmallClip:
    """The small CLIP in a folder; ConfigError if its tower is not this timm network."""
    from open_clip.transformer import VisionTransformer

    small = load_clip(TeacherSettings(name=str(folder)), offline=True)
    visual = small.model.visual
    if isinstance(visual, VisionTransformer):
        trunk, projection = _converted(visual, arch)
    else:
        trunk, projection = _timm_tower(visual, arch, folder)
    weights = {f"trunk.{name}": value for name, value in trunk.items()}
    weights["proj.weight"] = projection
    weights["logit_scale"] = small.model.logit_scale.detach()
    head = torch.from_numpy(small.class_head(prompts))
    return SmallClip(weights, head, small.spec.mean, small.spec.std)


def _timm_tower(visual: Any, arch: str, folder: Path) -> tuple[dict[str, Tensor], Tensor]:
    """The weights of a timm tower, and its projection ``(D, F)``."""
    projection = getattr(getattr(visual, "head", None), "proj", None)
    if not hasattr(visual, "trunk") or not isinstance(projection, torch.nn.Linear):
        got = f"image tower {type(visual).__name__} in {folder}"
        raise ConfigError("this small CLIP cannot start a student", got=got, expected=EXPECTED)
    config = getattr(visual.trunk, "pretrained_cfg", {})
    _require_same(str(config.get("architecture", "")) or type(visual.trunk).__name__, arch)
    return visual.trunk.state_dict(), projection.weight.detach()


@torch.no_grad()
def _converted(visual: Any, arch: str) -> tuple[dict[str, Tensor], Tensor]:
    """The weights of open_clip's own vision transformer by timm's names, and its projection.

    Both networks see the same picture, so that no difference (another activation, another norm)
    stays unseen.
    """
    import timm
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    net: Any = timm.create_model(arch, num_classes=0).eval()
    size = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    own = {f"visual.{name}": value for name, value in visual.state_dict().items()}
    if not isinstance(net, VisionTransformer) or visual.proj is None:
        _refuse_transformer(arch, "a vision transformer with a projection")
    try:
        trunk = checkpoint_filter_fn(own, net)
        trunk = {name: value for name, value in trunk.items() if not name.startswith("head.")}
        net.load_state_dict(trunk)
        picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        before, after = visual(picture), net(picture) @ visual.proj
    except (RuntimeError, AssertionError, KeyError) as error:
        _refuse_transformer(arch, first_line(error))
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4):
        _refuse_transformer(arch, "other answers to the same picture")
    return trunk, visual.proj.detach().T.contiguous()
