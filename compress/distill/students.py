"""Students: a timm trunk with a classifier, and where their first weights come from.

A student that starts as a small CLIP ("I" of SIDCLIP) has a projection into the teacher's text
space and a cosine head whose first weights are the class texts, so that before any training it is a
zero-shot classifier. Other students have a plain linear head on their pooled features, unless
``distill.head=cosine`` asks for the same form (with ``distill.feature_steps`` their trunk can then
learn the teacher's space first: I' of methods that have no small CLIP at hand).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import runtime
from compress.distill.objectives import Outputs
from compress.distill.small_clip import SmallClip
from compress.engine.config import DistillSettings, ImageSettings, Settings
from compress.engine.errors import ConfigError, DownloadError, nearest
from compress.engine.hub import fingerprint_path
from compress.engine.store import sha256_file

WEIGHTS, SPEC = "student.safetensors", "student.json"
EMBEDDED = "petal_cnn"
NARROWER = (
    f"{EMBEDDED}_w"  # petal_cnn_w8: the embedded student with 8 channels in its first convolution
)
MAX_LOGIT_SCALE = 100.0  # CLIP's own limit (Radford et al. 2021, section 2.5)


@dataclass(frozen=True)
class StudentSpec:
    """What is needed to rebuild a student.

    Attributes:
        arch: a timm model name.
        classes: K.
        embed_dim: D of the projection, or None for a linear head on the F pooled features.
        input_size: S in pixels.
        mean, std: normalization of the trunk, per channel in [0, 1].
        init: where the first weights came from: clip, generic, timm or random.
        own_space: the projection leads into a space of the student's own, not into the teacher's.
        activation: timm's name of the activation everywhere in the trunk; None = the architecture's
            own.
    """

    arch: str
    classes: int
    embed_dim: int | None
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    init: str
    own_space: bool = False
    activation: str | None = None

    def preprocess(self, image: ImageSettings) -> runtime.PreprocessSpec:
        """The one description of the input that drives training, calibration, export and the
        runtime.
        """
        return runtime.PreprocessSpec(
            self.input_size, image.resize, image.interpolation, self.mean, self.std
        )


class Student(nn.Module):
    """``images (B, 3, S, S) normalized -> logits (B, K)``."""

    def __init__(self, spec: StudentSpec, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.spec, self.trunk = spec, trunk
        self.proj = nn.Linear(width, spec.embed_dim, bias=False) if spec.embed_dim else None
        self.head = nn.Linear(spec.embed_dim or width, spec.classes, bias=spec.embed_dim is None)
        self.logit_scale = (
            nn.Parameter(torch.tensor(math.log(1 / 0.07))) if spec.embed_dim else None
        )

    def outputs(
        self, images: Tensor, *, detach_head: bool = False, frozen: bool = False
    ) -> Outputs:
        """All that objectives look at.

        Args:
            detach_head: the classifier's loss does not reach the features below it.
            frozen: no loss does; only the classifier learns.
        """
        with torch.set_grad_enabled(not frozen and torch.is_grad_enabled()):
            pooled = self.trunk(images)
            features = self.project(pooled)
        below = pooled if features is None else features
        logits = self.classify(below.detach() if detach_head else below)
        return Outputs(pooled, logits, None if self.spec.own_space else features)

    def project(self, pooled: Tensor) -> Tensor | None:
        """Unit rows ``(B, D)`` in the teacher's space, or None without a projection."""
        return None if self.proj is None else F.normalize(self.proj(pooled), dim=-1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``(B, K)`` of pooled features ``(B, F)``, or of unit rows ``(B, D)`` where there
        is a projection.
        """
        if self.logit_scale is None:
            out: Tensor = self.head(features)
            return out
        scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        return scale * F.linear(features, F.normalize(self.head.weight, dim=-1))

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.trunk(images)
        features = self.project(pooled)
        return self.classify(pooled if features is None else features)

    @property
    def params(self) -> int:
        """Number of trainable values."""
        return sum(parameter.numel() for parameter in self.parameters())


def architectures() -> list[str]:
    """Every timm name, the embedded student's among them."""
    import timm

    import compress.petals.nets  # noqa: F401 (registers the embedded student with timm)

    return list(timm.list_models())


def build(spec: StudentSpec, *, pretrained: bool = False) -> Student:
    """A student with random (or timm's pretrained) trunk weights.

    Raises:
        ConfigError: unknown architecture, with the nearest name.
        DownloadError: pretrained weights are neither cached nor reachable.
    """
    if spec.arch not in architectures():
        raise ConfigError(
            "unknown student", got=repr(spec.arch), remedy=nearest(spec.arch, architectures())
        )
    try:
        trunk = _trunk(spec.arch, spec.activation, pretrained)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise DownloadError(
            f"no pretrained weights for {spec.arch}",
            got=str(error).splitlines()[0][:160],
            remedy="place a safetensors file by hand with --set distill.init_path=FILE, "
            "start from random weights with "
            "--set distill.init=random, or try the offline world: compress build --dataset petals",
        ) from error
    with torch.no_grad():
        width = trunk.eval()(torch.zeros(1, 3, spec.input_size, spec.input_size)).shape[1]
    return Student(spec, trunk, width)


def _trunk(arch: str, activation: str | None, pretrained: bool) -> Any:
    """A timm network without its classifier.

    Raises:
        ConfigError: an unknown activation, or an architecture whose activation timm cannot replace.
    """
    import timm
    from timm.layers import get_act_layer

    if activation is None:
        return timm.create_model(arch, pretrained=pretrained, num_classes=0)
    try:
        layer = get_act_layer(activation)
    except (KeyError, ValueError, AssertionError) as error:
        raise ConfigError(
            "unknown activation",
            got=f"distill.activation={activation}",
            expected="a name of timm's, e.g. relu, relu6, silu",
        ) from error
    try:
        trunk = timm.create_model(arch, pretrained=pretrained, num_classes=0, act_layer=layer)
    except TypeError:
        trunk = None
    if trunk is None or not any(isinstance(module, layer) for module in trunk.modules()):
        raise ConfigError(
            f"the activation of {arch} cannot be replaced",
            got=f"distill.activation={activation}",
            expected="an architecture that takes timm's act_layer, e.g. efficientnet_b0",
        )
    return trunk


def spec_for(
    settings: DistillSettings,
    image: ImageSettings,
    classes: int,
    embed_dim: int,
    small: SmallClip | None = None,
) -> StudentSpec:
    """The spec of a new student under these settings, or of one that starts as a published small
    CLIP.
    """
    if settings.student not in architectures():
        raise ConfigError(
            "unknown student",
            got=repr(settings.student),
            remedy=nearest(settings.student, architectures()),
        )
    config = _trunk(settings.student, settings.activation, False).pretrained_cfg
    cosine = settings.head == "cosine" or (settings.head == "auto" and settings.init == "clip")
    if small is not None and cosine:
        width = small.text_head.shape[1]
        return StudentSpec(
            settings.student,
            classes,
            width,
            image.size,
            small.mean,
            small.std,
            settings.init,
            own_space=True,
            activation=settings.activation,
        )
    return StudentSpec(
        settings.student,
        classes,
        embed_dim if cosine else None,
        image.size,
        tuple(config.get("mean", (0.5,) * 3)),
        tuple(config.get("std", (0.5,) * 3)),
        settings.init,
        activation=settings.activation,
    )


def initialize(
    settings: DistillSettings, spec: StudentSpec, text_head: Tensor, small: SmallClip | None = None
) -> Student:
    """A new student with the weights that ``distill.init`` names.

    Args:
        text_head: ``(K, D)`` class texts in the teacher's text space; first weights of a cosine
            head.
        small: a published small CLIP, whose tower and texts win.

    Raises:
        ConfigError: there are no such weights for this architecture. Never replaced silently.
    """
    if small is not None:
        return _with_clip(spec, small.weights, small.text_head)
    student = _INITS[settings.init](settings, spec)
    if spec.embed_dim is not None:
        with torch.no_grad():
            student.head.weight.copy_(text_head)
    return student


def _random(settings: DistillSettings, spec: StudentSpec) -> Student:
    return build(spec)


def _timm(settings: DistillSettings, spec: StudentSpec) -> Student:
    if settings.init_path is None and not spec.arch.startswith(EMBEDDED):
        return build(spec, pretrained=True)
    student = build(spec)
    lost = student.trunk.load_state_dict(_file_weights(settings, spec), strict=False).missing_keys
    if lost:
        raise ConfigError(
            f"these are not the weights of {spec.arch}",
            got=f"{settings.init_path} without {', '.join(lost[:4])}",
            expected=f"a safetensors file of timm's {spec.arch}",
        )
    return student


def _generic(settings: DistillSettings, spec: StudentSpec) -> Student:
    from compress.petals.weights import load_student_generic

    _only_embedded(spec, "generic")
    student = build(spec)
    _copy(student.trunk, load_student_generic(), "trunk.")
    return student


def _clip(settings: DistillSettings, spec: StudentSpec) -> Student:
    if settings.init_path is None:
        from compress.petals.weights import load_student_clip

        if not shipped("clip", spec.arch):
            _only_embedded(spec, "clip")
        weights = load_student_clip()
        if spec.arch != EMBEDDED:
            from compress.petals.pruned import narrowed

            weights = narrowed(weights, build(spec).trunk)
    else:
        weights = _file_weights(settings, spec)
    return _with_clip(spec, weights)


def _with_clip(
    spec: StudentSpec, weights: Mapping[str, Tensor], text_head: Tensor | None = None
) -> Student:
    student = build(spec)
    _copy(student.trunk, weights, "trunk.")
    if (
        student.proj is None or student.logit_scale is None
    ):  # head=linear: the small CLIP's trunk alone
        return student
    given = tuple(weights["proj.weight"].shape)
    if given != tuple(student.proj.weight.shape):
        raise ConfigError(
            "the small CLIP does not share the teacher's text space",
            got=f"projection {given}",
            expected=f"{tuple(student.proj.weight.shape)} for this teacher",
            remedy="use a trunk trained against this teacher, or --set distill.init=timm",
        )
    with torch.no_grad():
        student.proj.weight.copy_(weights["proj.weight"])
        student.logit_scale.copy_(weights["logit_scale"])
        if text_head is not None:
            student.head.weight.copy_(text_head)
    return student


_INITS: dict[str, Callable[[DistillSettings, StudentSpec], Student]] = {
    "random": _random,
    "timm": _timm,
    "generic": _generic,
    "clip": _clip,
}


def shipped(init: str, arch: str) -> bool:
    """Whether this package holds first weights of that kind: the small CLIP's trunk, whole or
    pruned, or the generic one.
    """
    return arch == EMBEDDED or (init == "clip" and arch.startswith(NARROWER))


def _only_embedded(spec: StudentSpec, init: str) -> None:
    if spec.arch != EMBEDDED:
        raise ConfigError(
            f"there is no {init!r} trunk for this student",
            got=repr(spec.arch),
            expected=f"{EMBEDDED}, or a file",
            remedy="name one with --set distill.init_path=FILE.safetensors, or use --set "
            "distill.init=timm",
        )


def _file_weights(settings: DistillSettings, spec: StudentSpec) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if (
        settings.init_path is None
        or settings.init_path.suffix != ".safetensors"
        or not settings.init_path.is_file()
    ):
        raise ConfigError(
            f"no first weights for {spec.arch}",
            got=f"distill.init_path={settings.init_path}",
            expected="a .safetensors file",
            remedy="name one with --set distill.init_path=FILE, or use --set distill.init=random",
        )
    return load_file(settings.init_path)


def _copy(trunk: nn.Module, weights: Mapping[str, Tensor], prefix: str) -> None:
    own = {
        key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)
    }
    trunk.load_state_dict(own)


def save_student(student: Student, folder: Path) -> None:
    """Writes student.safetensors and student.json."""
    from safetensors.torch import save_file

    save_file(
        {key: value.detach().contiguous() for key, value in student.state_dict().items()},
        folder / WEIGHTS,
    )
    (folder / SPEC).write_text(json.dumps(asdict(student.spec), indent=1) + "\n")


def load_student(folder: Path) -> Student:
    """The student saved in a folder, in evaluation mode."""
    from safetensors.torch import load_file

    plain: dict[str, Any] = json.loads((folder / SPEC).read_text())
    spec = StudentSpec(**{**plain, "mean": tuple(plain["mean"]), "std": tuple(plain["std"])})
    student = build(spec)
    student.load_state_dict(load_file(folder / WEIGHTS))
    return student.eval()


def fingerprint(settings: Settings) -> dict[str, str]:
    """The identity of the first weights: the file's, the embedded world's, or timm's version."""
    distill = settings.distill
    if distill.init_path is not None:
        path = distill.init_path
        return {
            "init": sha256_file(path)
            if path.is_file()
            else fingerprint_path(path)
            if path.is_dir()
            else "missing"
        }
    if distill.init in ("clip", "generic"):
        from compress.petals import fingerprint as world

        return {"init": world()}
    from importlib import metadata

    return {"init": f"timm {metadata.version('timm')}" if distill.init == "timm" else "random"}
