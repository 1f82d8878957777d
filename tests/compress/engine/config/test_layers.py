from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.engine import config
from compress.engine.config import Settings, merge, parse_set, resolve, setting_paths
from compress.engine.errors import ConfigError


def test_layers_later_ones_win() -> None:
    out = resolve(
        config.world("embedded"),
        config.preset("smoke"),
        parse_set(["distill.steps=7", "data.shots=1"]),
    )
    assert (out.distill.steps, out.data.shots, out.distill.student) == (7, 1, "petal_cnn")


@pytest.mark.parametrize("name", config.preset_names())
@pytest.mark.parametrize("world", ["embedded", "hub"])
def test_every_preset_is_valid_on_every_world(name: str, world: str) -> None:
    assert isinstance(resolve(config.world(world), config.preset(name)), Settings)


def test_resolved_settings_repeat_themselves() -> None:
    first = resolve(config.world("embedded"), parse_set(["data.shots=2"]))
    again = resolve(yaml.safe_load(yaml.safe_dump(first.plain())))
    assert again == first


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("distill.step=3", "distill.steps"),
        ("distil.steps=3", "distill.steps"),
        ("distill.steps", "section.field=value"),
        ("distill=3", "distill"),
    ],
)
def test_a_wrong_set_names_the_nearest(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_set([assignment])


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ({"distill": {"steps": 0}}, "distill.steps"),
        ({"distill": {"stepz": 3}}, "distill.steps"),
        ({"data": {"path": "x"}}, "exactly one of"),
        ({"distill": {"optimizer": "sgd", "beta2_start": 0.96}}, "beta2_start is Adam's"),
        ({"data": {"dataset": None, "classes": ["a", "b"], "shots": 4}}, "shots must be 0"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_a_wrong_value_names_its_path(layer: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(layer)


def test_unknown_preset_and_unreadable_config(tmp_path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'sidclip'"):
        config.preset("sidclp")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    with pytest.raises(ConfigError, match="YAML"):
        config.read_layer(bad)
    bad.write_text("3")
    with pytest.raises(ConfigError, match="mapping"):
        config.read_layer(bad)


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Settings().seed = 3  # type: ignore[misc]


@given(st.sampled_from([p for p in setting_paths(Settings) if "." in p]))
@settings(max_examples=60, deadline=None)
def test_merge_touches_only_what_it_names(path: str) -> None:
    plain = Settings().plain()
    change: object = "X"
    for name in reversed(path.split(".")):
        change = {name: change}
    changed = node = merge(plain, change)  # type: ignore[arg-type]
    old: object = plain
    *sections, field = path.split(".")
    for section in sections:
        node, old = node[section], old[section]  # type: ignore[index]
    assert node[field] == "X"
    node[field] = old[field]  # type: ignore[index]
    assert changed == plain
