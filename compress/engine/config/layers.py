"""Layers of settings, merged and validated into `Settings`; a later layer wins.

Defaults of the fields < the world (where teacher, generator and student come from) < ``--preset``
< the flags of the command line < ``--set section.field=value``. A run keeps the resolved settings
in its config.yaml, which repeats the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from compress.engine.config.settings import Settings
from compress.engine.errors import ConfigError, found, joined, nearest, require_known
from compress.engine.text import read_text
from compress.engine.yaml_text import parse_yaml
from runtime.files.added import ADDED
from runtime.files.manifest import PROVENANCE, read_manifest
from runtime.files.paths import bundle_path
from runtime.files.strict_json import read_json
from runtime.files.zipped import unpacked

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PLACES = ("path", "root")  # settings of data that a bundle keeps the last part of
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
    try:
        layer = parse_yaml(read_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as YAML", got=error) from error
    if not isinstance(layer, dict):
        got = "nothing" if layer is None else type(layer).__name__
        raise ConfigError(f"{path} has no settings", got=got, expected="a mapping of sections")
    if odd := [name for name in layer if not isinstance(name, str)]:
        expected = "a mapping of sections"
        raise ConfigError(f"{path} has no settings", got=repr(odd[0]), expected=expected)
    return layer


def read_config(path: Path) -> Layer:
    """The layer in a run's config.yaml; ConfigError lists all settings that are unknown here."""
    return _known_here(read_layer(path), path)


def read_bundle(path: Path) -> tuple[Layer, list[str]]:
    """The settings that a bundle was made by, and the names of classes that joined it since.

    The layer names no folder of photos: a bundle holds none of them.

    Raises:
        ConfigError: a bundle of others that does not say how it was made, or unknown settings.
        BundleError: a damaged bundle.
    """
    with unpacked(bundle_path(path)) as folder:
        added = read_manifest(folder).get(ADDED, {}).get("classes", [])
        file = folder / PROVENANCE
        known = read_json(file) if file.is_file() else {}
    layer = known.get("settings") if isinstance(known, dict) else None
    if not isinstance(layer, dict):
        what = f"{path} does not say how it was made"
        raise ConfigError(what, got=f"no settings in {PROVENANCE}", expected="a bundle of a build")
    layer = _known_here(layer, path)
    data = {name: value for name, value in layer.get("data", {}).items() if name not in PLACES}
    return {**layer, "data": data}, [str(one["name"]) for one in added]


def _known_here(layer: Layer, path: Path) -> Layer:
    known = list(setting_paths(Settings))
    unknown = [name for name in _leaves(layer, Settings) if name not in known]
    if unknown:
        raise ConfigError(
            f"{path} has settings that this version does not know",
            got=", ".join(unknown[:8]),
            remedy=f"{_nearest_path(unknown[0], known)}; or, if a newer version wrote the file: "
            "pip install --upgrade clip2edge",
        )
    return layer


def parse_set(assignments: Iterable[str]) -> Layer:
    """The layer of assignments such as ``["distill.steps=20"]``; values are read as YAML.

    The last one of a setting counts. ConfigError lists all that are wrong.
    """
    known = list(setting_paths(Settings))
    values: dict[str, Any] = {}

    def read(text: str) -> None:
        path, value = _assignment(text, known)
        values[path] = value

    if wrong := found(partial(read, text) for text in assignments):
        raise joined(wrong, "--set cannot be read")
    layer: Layer = {}
    for path, value in values.items():
        node = layer
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return layer


def _assignment(text: str, known: list[str]) -> tuple[str, Any]:
    path, separator, value = text.partition("=")
    if not separator:
        raise ConfigError("--set needs a value", got=repr(text), expected="section.field=value")
    if path not in known:
        remedy = _nearest_path(path, known)
        raise ConfigError("--set names no setting", got=repr(path), remedy=remedy)
    try:
        return path, parse_yaml(value)
    except ValueError as error:
        raise ConfigError(
            f"--set {path} has a value that cannot be read",
            got=f"{value[:80]!r} ({error})",
            expected="YAML, e.g. 20, [1, 2] or 'text in quotes'",
        ) from error


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
    """The settings of merged layers; ConfigError names each path, value and nearest name.

    Its ``rest`` holds the settings with defaults in place of what is wrong.
    """
    merged = merge(*layers)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        rows: dict[str, list[ErrorDetails]] = {}
        for row in error.errors(include_url=False, include_context=False):
            rows.setdefault(_setting(row["loc"]), []).append(row)
        wrong = joined([_wrong(same) for same in rows.values()], "settings are wrong")
        assert isinstance(wrong, ConfigError)
        wrong.rest = _without(merged, rows)
        raise wrong from error


def _setting(place: tuple[int | str, ...]) -> str:
    """The setting, or the section, that a place in pydantic's error belongs to."""
    model: Any = Settings
    path: list[str] = []
    for part in map(str, place):
        path.append(part)
        if part not in model.model_fields:
            break
        model = model.model_fields[part].annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
    return ".".join(path)


def _wrong(rows: Sequence[ErrorDetails]) -> ConfigError:
    """The error of a setting; each of the alternatives that it takes has a row."""
    row = rows[0]
    path = _setting(row["loc"])
    if row["type"] == "extra_forbidden":
        remedy = _nearest_path(path, list(setting_paths(Settings)))
        return ConfigError(f"unknown setting {path}", remedy=remedy)
    of_items = isinstance(row["loc"][-1], int)  # the first wrong item of a list
    said = (plain_words(each["msg"]) for each in rows[: 1 if of_items else None])
    expected = " or ".join(dict.fromkeys(said))
    got = repr(row["input"])[:120]
    return ConfigError(f"setting {path or 'data'} is wrong", got=got, expected=expected)


def plain_words(message: str) -> str:
    """What pydantic expects, without its own words."""
    text = message.removeprefix("Value error, ").removeprefix("Input should be ")
    text = re.sub(r", unable to parse string as an? \w+", "", text)
    text = text.replace("a valid tuple", "a list").replace("a valid dictionary", "a mapping")
    return re.sub(r"Tuple should have at (\w+) (\d+) items?.*", r"a list of at \1 \2", text)


def _without(layer: Layer, wrong: Iterable[str]) -> Settings | None:
    """The settings with defaults in place of what is wrong; None if that cannot be either."""
    rest = merge(layer)
    for path in wrong:
        node: Any = rest
        *parents, leaf = path.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(leaf, None)
    try:
        return Settings.model_validate(rest)
    except ValidationError:
        return None


def _leaves(layer: Mapping[Any, Any], model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted paths of a layer; below a setting it is a value."""
    for name, value in layer.items():
        inner = model.model_fields[name].annotation if name in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            yield from _leaves(value, inner, f"{prefix}{name}.")
        elif not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            yield f"{prefix}{name}"


def _nearest_path(path: str, known: list[str]) -> str:
    """The nearest setting, from its own section if that exists."""
    section = path.partition(".")[0]
    return nearest(path, [name for name in known if name.startswith(section + ".")] or known)
