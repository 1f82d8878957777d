"""Layers of settings, merged and validated into `Settings`; a later layer wins.

Defaults of the fields < the world (where teacher, generator and student come from) < ``--preset``
< the flags of the command line < ``--set section.field=value``. A run keeps the resolved settings
in its config.yaml, which repeats the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from compress.engine.config.settings import Settings
from compress.engine.errors import ConfigError, nearest, require_known

PRESETS = Path(__file__).parents[2] / "presets"

Layer = dict[str, Any]  # nested settings, e.g. {"distill": {"steps": 20}}


def preset_names() -> list[str]:
    """The names that ``--preset`` accepts."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset(name: str) -> Layer:
    """The layer of a preset; ConfigError for an unknown name."""
    require_known(name, preset_names(), "unknown preset")
    return read_layer(PRESETS / f"{name}.yaml")


def world(name: str) -> Layer:
    """The layer with teacher, generator and student of a world: ``embedded`` or ``hub``."""
    return read_layer(PRESETS / "worlds" / f"{name}.yaml")


def read_layer(path: Path) -> Layer:
    """The layer in a YAML file; ConfigError if it cannot be read, or holds no mapping."""
    import yaml

    try:
        layer = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        got = str(error).splitlines()[0]
        raise ConfigError(f"{path} cannot be read as YAML", got=got) from error
    if not isinstance(layer, dict):
        got = type(layer).__name__
        raise ConfigError(f"{path} has no settings", got=got, expected="a mapping of sections")
    return layer


def parse_set(assignments: Iterable[str]) -> Layer:
    """The layer of assignments such as ``["distill.steps=20"]``; values are read as YAML."""
    import yaml

    known = list(setting_paths(Settings))
    layer: Layer = {}
    for text in assignments:
        path, separator, value = text.partition("=")
        if not separator:
            raise ConfigError("--set needs a value", got=repr(text), expected="section.field=value")
        if path not in known:
            remedy = _nearest_path(path, known)
            raise ConfigError("--set names no setting", got=repr(path), remedy=remedy)
        node = layer
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = yaml.safe_load(value)
    return layer


def setting_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every leaf of the settings as a dotted path."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_paths(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def merge(*layers: Mapping[str, Any]) -> Layer:
    """The layers as one; later ones win."""
    merged: Layer = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            if isinstance(old, dict) and isinstance(value, Mapping):
                value = merge(old, value)
            merged[key] = value
    return merged


def resolve(*layers: Mapping[str, Any]) -> Settings:
    """The settings of merged layers; ConfigError names the path, the value and the nearest name."""
    try:
        return Settings.model_validate(merge(*layers))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            remedy = _nearest_path(path, list(setting_paths(Settings)))
            raise ConfigError(f"unknown setting {path}", remedy=remedy) from error
        raise ConfigError(
            f"setting {path or 'data'} is wrong",
            got=repr(first["input"])[:120],
            expected=first["msg"].removeprefix("Value error, "),
        ) from error


def _nearest_path(path: str, known: list[str]) -> str:
    """The nearest setting, from its own section if that exists."""
    section = path.partition(".")[0]
    return nearest(path, [name for name in known if name.startswith(section + ".")] or known)
