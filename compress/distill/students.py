"""Students: a timm trunk with a linear or a cosine head.

A cosine head sits on a projection into a text space and starts as the class texts, so a student
that starts as a small CLIP is a zero-shot classifier before any training (SIDCLIP's "I"). Other
students have a linear head on their pooled features, unless ``distill.head=cosine``; with
``distill.feature_steps`` their trunk can then learn the teacher's space first.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import runtime
from compress.distill.small_clip import SmallClip
from compress.engine.config import DistillSettings, ImageSettings
from compress.engine.errors import ConfigError, DownloadError, require_known

ROOT_FLOOR = 1e-3  # the slope of the root at 0 is 1 / sqrt(this)
MAX_LOGIT_SCALE = 100.0  # CLIP's own limit (Radford et al. 2021, section 2.5)


@dataclass
class Outputs:
    """A student's outputs for a batch."""

    pooled: Tensor  # (B, F) trunk features
    logits: Tensor  # (B, K)
    features: Tensor | None = None  # (B, D) unit rows, projected into the teacher's space
    below: Tensor | None = None  # (B, F or D), what the classifier reads; None: pooled

    def float(self) -> Outputs:
        """The outputs in float32."""
        return self._map(lambda value: value.float())

    def at(self, rows: Tensor) -> Outputs:
        """Some rows, by their numbers or by a mask ``(B,)``."""
        return self._map(lambda value: value[rows])

    @classmethod
    def joined(cls, parts: Sequence[Outputs]) -> Outputs:
        """The rows of several one after the other."""
        columns = {
            entry.name: [getattr(part, entry.name) for part in parts] for entry in fields(cls)
        }
        given = {name: rows for name, rows in columns.items() if rows[0] is not None}
        return cls(**{name: torch.cat(rows) for name, rows in given.items()})

    def _map(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        given = {name: value for name, value in values.items() if value is not None}
        return Outputs(**{name: change(value) for name, value in given.items()})


@dataclass(frozen=True)
class StudentSpec:
    """What rebuilds a student."""

    arch: str  # a timm model name
    classes: int  # K
    embed_dim: int | None  # D of the projection; None for a linear head on the F pooled features
    input_size: int  # S in pixels
    mean: tuple[float, float, float]  # normalization of the trunk, per channel in [0, 1]
    std: tuple[float, float, float]
    init: str  # where the first weights came from: clip, generic, timm or random
    own_space: bool = False  # the projection does not lead into the teacher's space
    activation: str | None = None  # timm's name, for the whole trunk; None = the architecture's own
    merged: bool = False  # the head was two: its rows have any length and no scale stands beside it
    power_norm: bool = False  # the pooled features are their signed square roots

    def preprocess(self, image: ImageSettings) -> runtime.PreprocessSpec:
        """The input as training, calibration, export and the runtime prepare it."""
        return runtime.PreprocessSpec(
            self.input_size, image.resize, image.interpolation, self.mean, self.std
        )


class SignedRoot(nn.Module):
    """Power normalization: about ``sign(x) sqrt(|x|)``, with a finite slope at 0.

    Of averaged activations a few are large and most are small; their roots weigh more alike, and
    have more of int8's steps. (Perronnin et al. 2010, of Fisher vectors; Yang et al. 2021, arXiv
    2101.06395, of a network's features of few shots.)
    """

    def forward(self, pooled: Tensor) -> Tensor:
        return pooled / (pooled.abs() + ROOT_FLOOR).sqrt()


class Student(nn.Module):
    """``images (B, 3, S, S) normalized -> logits (B, K)``."""

    def __init__(self, spec: StudentSpec, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = trunk
        dim = spec.embed_dim
        self.proj = nn.Linear(width, dim, bias=False) if dim else None
        self.head = nn.Linear(dim or width, spec.classes, bias=dim is None)
        cosine = dim and not spec.merged
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07))) if cosine else None

    def outputs(
        self, images: Tensor, *, detach_head: bool = False, frozen: bool = False
    ) -> Outputs:
        """All that objectives read.

        With ``detach_head`` the classifier's loss does not reach the features below it; with
        ``frozen`` no loss does, and only the classifier learns.
        """
        with torch.set_grad_enabled(not frozen and torch.is_grad_enabled()):
            pooled = self.trunk(images)
        return self.outputs_of(pooled, detach_head=detach_head, frozen=frozen)

    def outputs_of(
        self, pooled: Tensor, *, detach_head: bool = False, frozen: bool = False
    ) -> Outputs:
        """As ``outputs``, of the trunk's features ``(B, F)``."""
        with torch.set_grad_enabled(not frozen and torch.is_grad_enabled()):
            features = self.project(pooled)
        below = pooled if features is None else features
        below = below.detach() if detach_head else below
        own = None if self.spec.own_space else features
        return Outputs(pooled, self.classify(below), own, below)

    def project(self, pooled: Tensor) -> Tensor | None:
        """Unit rows ``(B, D)`` of the projection, or None without one."""
        return None if self.proj is None else F.normalize(self.proj(pooled), dim=-1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``(B, K)`` of pooled features ``(B, F)``, or of projected unit rows ``(B, D)``."""
        return classify(features, self.head, self.logit_scale)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.trunk(images)
        features = self.project(pooled)
        return self.classify(pooled if features is None else features)

    @property
    def width(self) -> int:
        """F, the width of the pooled features."""
        return (self.head if self.proj is None else self.proj).in_features

    @property
    def params(self) -> int:
        """Number of trainable values."""
        return sum(parameter.numel() for parameter in self.parameters())


def classify(features: Tensor, head: nn.Linear, logit_scale: Tensor | None) -> Tensor:
    """Logits ``(B, K)`` of a linear head, or with a scale (its logarithm) of a cosine head."""
    if logit_scale is None:
        out: Tensor = head(features)
        return out
    scale = logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
    return scale * F.linear(features, F.normalize(head.weight, dim=-1))


def architectures() -> list[str]:
    """Every timm name, the embedded student's included."""
    import timm

    import compress.petals.nets  # noqa: F401 (registers the embedded student with timm)

    return list(timm.list_models())


def check_architecture(arch: str) -> None:
    """Raises ConfigError for an unknown architecture, with the nearest name."""
    require_known(arch, architectures(), "unknown student")


def build(spec: StudentSpec, *, pretrained: bool = False) -> Student:
    """A student with random (or timm's pretrained) trunk; DownloadError if it is unreachable."""
    check_architecture(spec.arch)
    try:
        trunk = _trunk(spec.arch, spec.activation, pretrained)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise DownloadError(
            f"no pretrained weights for {spec.arch}",
            got=str(error).splitlines()[0][:160],
            remedy="--set distill.init_path=FILE (safetensors), --set distill.init=random, or try "
            "the offline world: compress build --dataset petals",
        ) from error
    if spec.power_norm:
        _take_roots(trunk, spec.arch)
    return Student(spec, trunk, pooled_width(trunk.eval(), spec.arch, spec.input_size))


def _take_roots(trunk: nn.Module, arch: str) -> None:
    """Puts the root where the trunk had its classifier; it has no weights, so no name changes."""
    last = getattr(trunk, "get_classifier", lambda: None)()
    places = [name for name, module in trunk.named_modules() if module is last]
    if not isinstance(last, nn.Identity) or len(places) != 1:
        raise ConfigError(
            f"power normalization does not know where the features of {arch} are pooled",
            got=f"distill.power_norm=true, a classifier of {type(last).__name__}",
            expected="a network of timm's with one linear classifier",
            remedy="--set distill.power_norm=false, or another student (compress list students)",
        )
    trunk.set_submodule(places[0], SignedRoot())


def pooled_width(trunk: nn.Module, arch: str, size: int) -> int:
    """F of a trunk; ConfigError if it does not take images of ``size`` pixels, or pools none.

    On the device ``meta`` nothing is computed but shapes.
    """
    example = torch.zeros(1, 3, size, size, device=next(trunk.parameters()).device)
    try:
        with torch.no_grad():
            shape = trunk(example).shape
        if len(shape) == 2:
            return int(shape[1])
        reason = f"its features have the shape {tuple(shape)}"
    except NotImplementedError:  # an operator that ``meta`` does not know
        raise
    except (RuntimeError, AssertionError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    config = getattr(trunk, "pretrained_cfg", {})
    own = config.get("input_size", (3, 224, 224))[-1]
    raise ConfigError(
        f"student {arch} cannot take images of this size",
        got=f"image.size={size}: {reason}",
        expected=f"its own size, {own}" if own != size else "pooled features (B, F)",
        remedy=f"--set image.size={own}, or another student (compress list students)",
    )


def require_takes(settings: DistillSettings, image: ImageSettings) -> nn.Module:
    """The trunk of a new student on the device ``meta``; ConfigError as `pooled_width`."""
    check_architecture(settings.student)
    with torch.device("meta"):
        trunk: nn.Module = _trunk(settings.student, settings.activation, False).eval()
        if settings.power_norm:
            _take_roots(trunk, settings.student)
    with contextlib.suppress(NotImplementedError):
        pooled_width(trunk, settings.student, image.size)
    return trunk


def _trunk(arch: str, activation: str | None, pretrained: bool) -> Any:
    """A timm network without its classifier; ConfigError if it cannot have this activation."""
    import timm
    from timm.layers import get_act_layer

    if activation is None:
        return timm.create_model(arch, pretrained=pretrained, num_classes=0)
    got = f"distill.activation={activation}"
    try:
        layer = get_act_layer(activation)
    except (KeyError, ValueError, AssertionError) as error:
        expected = "a name of timm's, e.g. relu, relu6, silu"
        raise ConfigError("unknown activation", got=got, expected=expected) from error
    try:
        trunk = timm.create_model(arch, pretrained=pretrained, num_classes=0, act_layer=layer)
    except TypeError:
        trunk = None
    if trunk is None or not any(isinstance(module, layer) for module in trunk.modules()):
        what = f"the activation of {arch} cannot be replaced"
        expected = "an architecture that takes timm's act_layer, e.g. efficientnet_b0"
        raise ConfigError(what, got=got, expected=expected)
    return trunk


def spec_for(
    settings: DistillSettings,
    image: ImageSettings,
    classes: int,
    embed_dim: int,
    small: SmallClip | None = None,
) -> StudentSpec:
    """The spec of a new student; ``embed_dim`` is D of the teacher's space."""
    check_architecture(settings.student)
    config = _trunk(settings.student, settings.activation, False).pretrained_cfg
    cosine = settings.head == "cosine" or (settings.head == "auto" and settings.init == "clip")
    mean, std = (tuple(config.get(key, (0.5,) * 3)) for key in ("mean", "std"))
    own_space = small is not None and cosine
    if small is not None and cosine:
        mean = small.mean
        std = small.std
        embed_dim = small.text_head.shape[1]
    return StudentSpec(
        settings.student,
        classes,
        embed_dim if cosine else None,
        image.size,
        mean,
        std,
        settings.init,
        own_space,
        settings.activation,
        power_norm=settings.power_norm,
    )
