"""The networks of the world `petals`, known shapes at a small size.

    teacher     open_clip.CLIP: a timm ResNet (``petal_resnet``) and open_clip's text tower, D = 128
    prior       a residual MLP from text embedding to image embedding, with the spread it leaves
                unexplained
    student     ``petal_cnn``, a plain conv-BN-ReLU network whose every layer int8 hardware runs

The generator and the VQ decoder are diffusers' UNet2DConditionModel and VQModel as they are.
Importing this module registers ``petal_resnet`` and ``petal_cnn`` with timm, so
``timm.create_model`` and open_clip's local folders find them by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torch.nn import functional

from runtime import PreprocessSpec

__all__ = ["PetalCNN", "PetalPrior", "clip_config", "new_teacher", "pixels"]  # timm adds its own

EMBED_DIM = 128
CONTEXT_LENGTH = 24
MEAN = STD = (0.5, 0.5, 0.5)
INPUT_SIZE = 32
SPEC = PreprocessSpec(INPUT_SIZE, INPUT_SIZE, "bicubic", MEAN, STD)
# unit-norm embeddings times this have unit variance per entry, as the generator's layers expect
EMBED_SCALE = EMBED_DIM**0.5

_TIMM_CONFIG: dict[str, Any] = {
    "input_size": (3, INPUT_SIZE, INPUT_SIZE),
    "pool_size": (2, 2),
    "mean": MEAN,
    "std": STD,
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "num_classes": 0,
    "license": "apache-2.0",
    "fixed_input_size": False,
}


@register_model
def petal_resnet(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """The teacher's image tower: a ResNet of 1.6 M parameters on 32 px; its stages see 16..2 px."""
    model: Any = ResNet(
        BasicBlock,  # type: ignore[arg-type]  # timm annotates an instance
        (2, 2, 2, 1),
        channels=(32, 64, 128, 256),
        num_classes=kwargs.get("num_classes", 0),
        global_pool=kwargs.get("global_pool", "avg"),
    )
    model.conv1 = nn.Conv2d(3, model.conv1.out_channels, 3, 1, 1, bias=False)
    model.maxpool = nn.AvgPool2d(2)
    config = {**_TIMM_CONFIG, "first_conv": "conv1", "classifier": "fc"}
    model.pretrained_cfg = model.default_cfg = config
    return model


class PetalCNN(nn.Module):
    """Conv-BN-ReLU layers, average pool, an optional classifier; 0.13 M parameters at full width.

    Args:
        stem: channels of the first convolution; the others keep their ratio to it.
    """

    #: (channels, stride) of each 3 x 3 convolution: 32, 16, 16, 8, 8, 4 px for a 32 px image
    PLAN = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (96, 2))

    def __init__(self, num_classes: int = 0, in_chans: int = 3, stem: int = PLAN[0][0]) -> None:
        super().__init__()
        layers = []
        width = in_chans
        for full, stride in self.PLAN:
            channels = full * stem // self.PLAN[0][0]
            conv = nn.Conv2d(width, channels, 3, stride, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            width = channels
        self.layers = nn.Sequential(*layers)
        self.num_features = self.head_hidden_size = width
        config = {**_TIMM_CONFIG, "first_conv": "layers.0", "classifier": "fc"}
        self.pretrained_cfg = self.default_cfg = config
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 96, H/8, W/8)."""
        return self.layers(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 96, h, w) -> pooled features (B, 96), or logits where there is a classifier."""
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


@register_model
def petal_cnn(pretrained: bool = False, **kwargs: Any) -> PetalCNN:
    """The embedded student's trunk; ``compress/petals/weights.py`` loads its weights, not timm."""
    return PetalCNN(num_classes=kwargs.get("num_classes", 0), in_chans=kwargs.get("in_chans", 3))


# narrower students: name -> channels of their first convolution
STEMS = {f"petal_cnn_w{stem}": stem for stem in (4, 6, 8, 12)}


def _register(name: str, stem: int) -> None:
    def narrow(pretrained: bool = False, **kwargs: Any) -> PetalCNN:
        return PetalCNN(
            num_classes=kwargs.get("num_classes", 0), in_chans=kwargs.get("in_chans", 3), stem=stem
        )

    narrow.__name__ = narrow.__qualname__ = name  # timm registers by name
    narrow.__doc__ = f"petal_cnn with {stem} channels in its first convolution instead of 16."
    globals()[name] = register_model(narrow)


for _name, _stem in STEMS.items():
    _register(_name, _stem)


def clip_config(vocabulary_size: int) -> dict[str, Any]:
    """The teacher's ``model_cfg`` as open_clip writes it into open_clip_config.json."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "image_size": INPUT_SIZE,
            "timm_model_name": "petal_resnet",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 128,
            "heads": 2,
            "layers": 2,
        },
    }


def new_teacher(vocabulary_size: int) -> open_clip.CLIP:
    """An untrained teacher."""
    return open_clip.CLIP(**clip_config(vocabulary_size))


class PetalPrior(ModelMixin, ConfigMixin):  # type: ignore[misc]  # as diffusers' own models
    """Text to image embedding: a residual MLP for the mean, a Cholesky factor for the spread."""

    @register_to_config
    def __init__(self, embed_dim: int = EMBED_DIM, hidden: int = 384) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(embed_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, embed_dim),
        )
        self.register_buffer("spread", torch.zeros(embed_dim, embed_dim))

    def forward(self, text: Tensor, noise: Tensor | None = None) -> Tensor:
        """Unit image embeddings (B, D) of unit text embeddings (B, D).

        Standard normal ``noise`` (B, D) makes each a random draw.
        """
        mean = functional.normalize(text + self.mlp(text * EMBED_SCALE), dim=-1)
        if noise is None:
            return mean
        return functional.normalize(mean + noise @ self.spread.T, dim=-1)


def pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in [-1, 1], the input of every network here."""
    rows = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return rows.permute(0, 3, 1, 2).float() / 127.5 - 1
