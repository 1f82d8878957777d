"""Every number has a limit on both sides, and its error names the setting and the limit."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from compress.api import settings_for
from compress.cost.estimate import estimates
from compress.engine.config import HostSettings, Settings, resolve
from compress.engine.errors import ConfigError
from compress.engine.plan import Step
from compress.engine.store import Store
from compress.label.checks import bytes_needed
from compress.stages import STAGES

LOWER, UPPER = (Ge, Gt), (Le, Lt)
COUNTED = ("data", "teacher", "generate", "label", "distill", "quantize")


def numbers(kind: Any, limits: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The limits of each int and float that an annotation holds."""
    if kind in (int, float):
        yield limits
    elif typing.get_origin(kind) is typing.Annotated:
        inner, *notes = typing.get_args(kind)
        fields = [note for note in notes if isinstance(note, FieldInfo)]
        yield from numbers(inner, (*limits, *(one for field in fields for one in field.metadata)))
    elif typing.get_origin(kind) is not typing.Literal:
        for part in typing.get_args(kind):
            yield from numbers(part)


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def bounds(field: FieldInfo) -> list[tuple[float | None, float | None]]:
    found = []
    for limits in numbers(field.annotation, tuple(field.metadata)):
        low = [getattr(one, "ge", getattr(one, "gt", None)) for one in limits if type(one) in LOWER]
        high = [
            getattr(one, "le", getattr(one, "lt", None)) for one in limits if type(one) in UPPER
        ]
        found.append((next(iter(low), None), next(iter(high), None)))
    return found


@pytest.mark.parametrize("model", [Settings, HostSettings])
def test_every_number_has_a_limit_on_both_sides(model: type[BaseModel]) -> None:
    found = {path: bounds(field) for path, field in leaves(model)}
    assert sum(map(len, found.values())) > (70 if model is Settings else 4)
    for path, pairs in found.items():
        for pair in pairs:
            assert all(limit is not None and math.isfinite(limit) for limit in pair), path


@pytest.mark.parametrize(
    ("path", "value", "limit"),
    [
        ("generate.synth_ratio", 1e308, "1000000"),
        ("distill.epochs", 1e300, "1000000"),
        ("distill.temperature", 5e-324, "0.000000000000001"),
        ("bench.seconds", 1e9, "86400"),
        ("label.randaug_num_ops", 2_000_000_000, "1024"),
        ("distill.gendd.width", 2_000_000_000, "65536"),
        ("generate.prompts.count", 2_000_000_000, "65536"),
    ],
)
def test_a_number_beyond_its_limit_names_both(path: str, value: float, limit: str) -> None:
    layer: Any = value
    for part in reversed(path.split(".")):
        layer = {part: layer}
    with pytest.raises(ConfigError, match=f"{path} is wrong .* equal to {limit}"):
        resolve(layer)


@pytest.mark.parametrize(
    ("option", "value"), [("jobs", 10**11), ("workers", 10**11), ("task_cpus", math.inf)]
)
def test_a_wrong_number_of_the_host_names_its_option(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} is wrong"):
        HostSettings(**{option: value})


@pytest.mark.parametrize("ratio", [None, 1e6])
@pytest.mark.parametrize("epochs", [None, 1e6])
def test_no_limits_together_overflow(
    tmp_path: Path, ratio: float | None, epochs: float | None
) -> None:
    plain = settings_for("petals", preset="smoke").plain()
    for path, field in leaves(Settings):
        *parents, leaf = path.split(".")
        node = plain
        for parent in parents:
            node = node[parent]
        if type(node[leaf]) in (int, float):
            ((_, high),) = bounds(field)
            exact = any(isinstance(limit, Lt) for limit in field.metadata)
            assert high is not None
            top = high - 1 if type(node[leaf]) is int else high / 2
            node[leaf] = type(node[leaf])(top) if exact else type(node[leaf])(high)
    plain["generate"]["synth_ratio"] = ratio
    plain["distill"]["epochs"] = epochs
    largest = resolve(plain)
    assert largest.distill.steps == 2**31 - 1 and largest.label.views == 65_536
    assert bytes_needed(largest, None) > 10**15
    steps = [Step(stage.name, "make", None) for stage in STAGES]
    rows = estimates(largest, steps, Store.of(tmp_path))
    assert {row.stage for row in rows} == set(COUNTED)
