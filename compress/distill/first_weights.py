"""Where a student's first weights come from: ``distill.init``, one row of a table each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from compress.distill.origin import EMBEDDED, shipped
from compress.distill.small_clip import SmallClip, require_tower
from compress.distill.students import Student, StudentSpec, build
from compress.engine.config import DistillSettings
from compress.engine.errors import ConfigError
from compress.engine.packages import installed, packaged_weights
from compress.teacher.weights import require_finite, require_tensors

TRUNK = "trunk."  # before the names of a trunk's weights in a file of a whole student
Shapes = Mapping[str, tuple[int, ...]]  # of weights, by name


def initialize(
    settings: DistillSettings,
    spec: StudentSpec,
    text_head: Tensor,
    small: SmallClip | None = None,
    kept: Path | None = None,
) -> Student:
    """A new student with the weights that ``distill.init`` names.

    A cosine head starts as ``text_head (K, D)``, the class texts in the teacher's space; tower and
    texts of a published small CLIP win. ConfigError if there are no such weights for this student.
    ``kept`` is the folder of weights that were converted before.
    """
    if small is not None:
        return _from_clip(spec, small.weights, small.text_head)
    student = INITS[settings.init](settings, spec, kept)
    if spec.embed_dim is not None:
        with torch.no_grad():
            student.head.weight.copy_(text_head)
    return student


def _timm(settings: DistillSettings, spec: StudentSpec, kept: Path | None) -> Student:
    packaged = settings.init_path is None and installed(spec.arch) is not None
    if settings.init_path is None and not packaged and not spec.arch.startswith(EMBEDDED):
        return build(spec, pretrained=True)
    student = build(spec)
    weights = packaged_weights(spec.arch, kept) if packaged else _file_weights(settings, spec)
    require_fit(shapes_of(weights), student.trunk, spec.arch)
    student.trunk.load_state_dict(weights, strict=False)
    return student


def _generic(settings: DistillSettings, spec: StudentSpec, kept: Path | None) -> Student:
    from compress.petals.weights import load_student_generic

    _check_shipped("generic", spec.arch)
    return _with_trunk(spec, load_student_generic())


def _clip(settings: DistillSettings, spec: StudentSpec, kept: Path | None) -> Student:
    from compress.petals.pruned import narrowed
    from compress.petals.weights import load_student_clip

    if settings.init_path is not None:
        return _from_clip(spec, _file_weights(settings, spec))
    _check_shipped("clip", spec.arch)
    whole = load_student_clip()
    return _from_clip(spec, whole if spec.arch == EMBEDDED else narrowed(whole, build(spec).trunk))


INITS: dict[str, Callable[[DistillSettings, StudentSpec, Path | None], Student]] = {
    "random": lambda settings, spec, kept: build(spec),
    "timm": _timm,
    "generic": _generic,
    "clip": _clip,
}


def _from_clip(
    spec: StudentSpec, weights: Mapping[str, Tensor], text_head: Tensor | None = None
) -> Student:
    student = _with_trunk(spec, weights)
    if student.proj is None or student.logit_scale is None:  # head=linear: the trunk alone
        return student
    require_space(shapes_of(weights), student.proj.out_features)
    with torch.no_grad():
        student.proj.weight.copy_(weights["proj.weight"])
        student.logit_scale.copy_(weights["logit_scale"])
        if text_head is not None:
            student.head.weight.copy_(text_head)
    return student


def shapes_of(weights: Mapping[str, Tensor]) -> Shapes:
    """The shapes of weights, by name."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def require_fit(given: Shapes, trunk: nn.Module, arch: str, prefix: str = "") -> None:
    """Raises ConfigError unless there is a weight of the right shape for all of a trunk."""
    wanted = {prefix + name: tuple(value.shape) for name, value in trunk.state_dict().items()}
    what = f"these are not the weights of {arch}"
    remedy = "name a file of this architecture, or start from --set distill.init=timm"
    if missing := [name for name in wanted if name not in given]:
        raise ConfigError(what, got=f"a file without {', '.join(missing[:4])}", remedy=remedy)
    for name, shape in wanted.items():
        if given[name] != shape:
            raise ConfigError(
                what, got=f"{name} {given[name]}", expected=f"{name} {shape}", remedy=remedy
            )


def require_space(given: Shapes, embed_dim: int) -> None:
    """Raises ConfigError unless a small CLIP projects into a space as wide as the teacher's."""
    lost = [name for name in ("proj.weight", "logit_scale") if name not in given]
    if lost or given["proj.weight"][0] != embed_dim:
        got = f"no {' and no '.join(lost)}" if lost else f"projection {given['proj.weight']}"
        raise ConfigError(
            "the small CLIP does not share the teacher's text space",
            got=got,
            expected=f"a projection ({embed_dim}, F) for this teacher",
            remedy="use a trunk trained against this teacher, or --set distill.init=timm",
        )


def require_weights(settings: DistillSettings, trunk: nn.Module, embed_dim: int | None) -> None:
    """Raises ConfigError for first weights that cannot start a student; reads their heads only.

    Args:
        trunk: of the student, on the device ``meta`` if need be.
        embed_dim: D of the teacher's space; None: not known yet.
    """
    path = settings.init_path
    if path is None:
        return
    if not path.exists():
        raise ConfigError("distill.init_path does not exist", got=path)
    if settings.init == "clip" and path.is_dir():
        require_tower(path, settings.student)
    elif settings.init in ("clip", "timm"):
        given = require_tensors(require_file(path, settings.student))
        prefix = TRUNK if settings.init == "clip" else ""
        require_fit(given, trunk, settings.student, prefix)
        if prefix and settings.head != "linear" and embed_dim is not None:
            require_space(given, embed_dim)


def _check_shipped(init: str, arch: str) -> None:
    if not shipped(init, arch):
        what = f"there is no {init!r} trunk for this student"
        remedy = "--set distill.init_path=FILE.safetensors, or --set distill.init=timm"
        raise ConfigError(what, got=repr(arch), expected=EMBEDDED, remedy=remedy)


def _file_weights(settings: DistillSettings, spec: StudentSpec) -> dict[str, Tensor]:
    path = require_file(settings.init_path, spec.arch)
    require_tensors(path)
    weights = load_file(path)
    require_finite(weights, path)
    return weights


def require_file(path: Path | None, arch: str) -> Path:
    """The file of first weights; ConfigError if it is none."""
    if path is None or path.suffix != ".safetensors" or not path.is_file():
        expected = "a .safetensors file, or --set distill.init=random"
        got = f"distill.init_path={path}"
        raise ConfigError(f"no first weights for {arch}", got=got, expected=expected)
    return path


def _with_trunk(spec: StudentSpec, weights: Mapping[str, Tensor]) -> Student:
    student = build(spec)
    require_fit(shapes_of(weights), student.trunk, spec.arch, TRUNK)
    trunk = {key: value for key, value in weights.items() if key.startswith(TRUNK)}
    student.trunk.load_state_dict({k.removeprefix(TRUNK): v for k, v in trunk.items()})
    return student
