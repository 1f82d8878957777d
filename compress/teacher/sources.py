"""What a teacher's name means. It is one of

ViT-L-14/openai              an open_clip model and tag, downloaded once, then from the cache
hf-hub:org/repo              a repository on the hub in open_clip's format, or transformers'
path/to/folder               a folder in open_clip's format: open_clip_config.json +
                             open_clip_model.safetensors; or a CLIP of transformers
ViT-L-14/path/to/weights     a checkpoint file for a named architecture: .safetensors, or a
                             pickle (.pt, .bin), which is only ever read with weights_only=True
timm:NAME, timm:NAME@FILE    an image-only network of timm's: its published weights (of a package of
                             ``packages.py``, else from the hub), or a file of them
petals                       the small teacher of the embedded world
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.engine.errors import ConfigError
from compress.engine.packages import TIMM
from compress.engine.text import user_path
from compress.teacher.transformers_clip import is_transformers

EMBEDDED = "petals"
CONFIG_FILE = "open_clip_config.json"


@dataclass(frozen=True)
class Embedded:
    """The teacher inside this package."""


@dataclass(frozen=True)
class Tag:
    """An open_clip model and the tag of its weights."""

    model: str
    tag: str


@dataclass(frozen=True)
class HubRepository:
    """A repository in open_clip's format on the hub, ``org/repo``."""

    name: str


@dataclass(frozen=True)
class Folder:
    """A local folder in open_clip's format."""

    path: Path


@dataclass(frozen=True)
class TransformersFolder:
    """A local folder with a CLIP in transformers' format."""

    path: Path


@dataclass(frozen=True)
class Checkpoint:
    """A local file of weights for an open_clip architecture."""

    model: str
    path: Path


@dataclass(frozen=True)
class TimmNet:
    """A timm network without texts; ``path``: the file of its weights, None for published ones."""

    model: str
    path: Path | None = None


TeacherSource = Embedded | Tag | HubRepository | Folder | TransformersFolder | Checkpoint | TimmNet


def has_text(name: str) -> bool:
    """Whether the teacher of this name maps texts into the space of its images."""
    return not name.startswith(TIMM)


def locate(name: str) -> TeacherSource:
    """The source that a teacher's name means; loads nothing.

    Raises:
        ConfigError: a path that does not exist, or a checkpoint without its architecture.
    """
    if name == EMBEDDED:
        return Embedded()
    if name.startswith("hf-hub:"):
        return HubRepository(name.removeprefix("hf-hub:"))
    if name.startswith(TIMM):
        model, separator, file = name.removeprefix(TIMM).partition("@")
        if separator and not file:
            what, expected = "the file of a teacher's weights is not named", "timm:NAME@FILE"
            raise ConfigError(what, got=name, expected=expected)
        if "://" in file:
            what, expected = "a teacher's weights are read from this disk", "timm:NAME@FILE"
            remedy = "download the file, then name it"
            raise ConfigError(what, got=file, expected=expected, remedy=remedy)
        return TimmNet(model, user_path(file) if separator else None)
    path = user_path(name)
    if path.is_dir():
        other = not (path / CONFIG_FILE).is_file() and is_transformers(path)
        return TransformersFolder(path) if other else Folder(path)
    if path.is_file():
        expected = f"MODEL/FILE, e.g. ViT-L-14/{path}"
        raise ConfigError(
            "a teacher checkpoint needs its architecture", got=name, expected=expected
        )
    model, _, rest = name.partition("/")
    if not model or model in (".", "..", "~"):
        expected = f"a folder with {CONFIG_FILE}"
        raise ConfigError("the teacher's folder does not exist", got=name, expected=expected)
    if rest and user_path(rest).is_file():
        return Checkpoint(model, user_path(rest))
    return Tag(model, rest)
