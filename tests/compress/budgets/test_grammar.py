"""Budgets as text: what is read, what is refused and with which remedy; the settings they
become.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.api import settings_for
from compress.budgets.devices import names
from compress.budgets.grammar import METRICS, Limit, parse_budget, read_budget
from compress.engine.config import Settings
from compress.engine.errors import BudgetError
from compress.engine.stage import identity
from compress.stages import STAGES


def test_the_example_of_the_readme() -> None:
    limits = parse_budget("p50<=5ms@orin-nano, size<=6MB, energy<=5mJ, drop<=2pt")
    assert [(x.metric, x.value, x.unit, x.device) for x in limits] == [
        ("p50", 5.0, "ms", "orin-nano"),
        ("size", 6e6, "bytes", None),
        ("energy", 5.0, "mJ", "orin-nano"),
        ("drop", 2.0, "points", None),
    ]


def test_units_become_canonical() -> None:
    given_ = (
        "p50<=500us",
        "p90<=0.2s",
        "size<=6MiB",
        "memory<=1GB",
        "energy<=0.01J",
        "top1>=90%",
        "drop_fp32<=1%",
        "p99<=7ms@pi5",
    )
    values = {x.metric: (x.value, x.unit, x.device) for text in given_ for x in parse_budget(text)}
    assert values == {
        "p50": (0.5, "ms", "host"),
        "p90": (200.0, "ms", "host"),
        "size": (6 * 2.0**20, "bytes", None),
        "memory": (1e9, "bytes", "host"),
        "energy": (10.0, "mJ", "host"),
        "top1": (90.0, "%", None),
        "drop_fp32": (1.0, "points", None),
        "p99": (7.0, "ms", "pi5"),
    }


def test_a_limit_without_a_device_is_about_the_only_one_named() -> None:
    assert {x.device for x in parse_budget("p50<=5ms@pi5", "load<=1s")} == {"pi5"}
    assert parse_budget("p50<=5ms@pi5, p90<=9ms@pi4, load<=1s")[2].device == "host"
    assert parse_budget("load<=1s")[0].device == "host"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p5<=3ms", "did you mean 'p50'"),
        ("sise<=3MB", "did you mean 'size'"),
        ("p50<=5", "needs a unit"),
        ("p50<=5MB", "one of: ms, s, us"),
        ("p50>=5ms", "p50<=5ms"),
        ("top1<=90%", "top1>=90%"),
        ("p50<=5ms@orin-nan", "did you mean 'orin-nano'"),
        ("size<=6MB@pi5", "size without @"),
        ("p50=5ms", "cannot be read"),
        ("p50<=-5ms", "cannot be read"),
        ("p50<=5ms, p50<=6ms", "given twice"),
        (" , ", "empty"),
        ("top1>=101%", "such a limit on top1 · got .* · expected 0.001 % to 100 %"),
        ("top1>100%", "with > not 100 itself"),
        ("top1>=0%", "such a limit on top1"),
        ("p50<=0ms", "such a limit on p50"),
        ("p50<=5e-324ms@pi5", "such a limit on p50"),
        ("load<=1e300s", "such a limit on load"),
        ("size<=0B", "such a limit on size"),
        ("memory<=3b", "such a limit on memory"),
        ("energy<=0mJ", "such a limit on energy"),
        ("drop<0pt", "such a limit on drop"),
        ("drop<=101pt", "such a limit on drop"),
    ],
)
def test_what_cannot_be_read_says_what_can(text: str, says: str) -> None:
    with pytest.raises(BudgetError, match=says.replace("(", r"\(")):
        parse_budget(text)


@given(
    st.sampled_from(sorted(METRICS)),
    st.floats(0, 1, allow_nan=False),
    st.booleans(),
    st.sampled_from(names()),
)
def test_what_is_written_is_read_again(name: str, share: float, strict: bool, device: str) -> None:
    metric = METRICS[name]
    unit = next(iter(metric.units))
    low, high = (limit / metric.units[unit] for limit in (metric.least, metric.most))
    number = max(low, 1e-3) + share * 0.99 * (high - low)
    op = ("<" if metric.is_upper else ">") + ("" if strict else "=")
    (limit,) = parse_budget(
        f"{name} {op} {number:.6f} {unit}{f'@{device}' if metric.on_device else ''}"
    )
    assert parse_budget(limit.text) == (limit,)
    beyond = limit.value * 2 + 1 if metric.is_upper else limit.value / 2 - 1
    assert not limit.holds(beyond) and limit.excess(beyond) > 0
    assert limit.holds(limit.value) is not strict


@given(st.text(max_size=40))
def test_any_text_is_a_budget_or_a_budget_error(text: str) -> None:
    with contextlib.suppress(BudgetError):
        assert all(isinstance(limit, Limit) for limit in parse_budget(text))


def test_files_of_limits(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('p50@orin-nano: "<=5ms"\nsize: "<=6MB"\n')
    (tmp_path / "b.yml").write_text("- drop<=2pt\n")
    assert read_budget([str(tmp_path / "a.yaml"), str(tmp_path / "b.yml"), "load<=1s@pi5"]) == (
        "p50<=5ms@orin-nano",
        "size<=6MB",
        "drop<=2pt",
        "load<=1s@pi5",
    )
    (tmp_path / "d.yaml").write_text('top1: ">=101%"\n')
    with pytest.raises(BudgetError, match="such a limit on top1"):
        read_budget([str(tmp_path / "d.yaml")])
    (tmp_path / "c.yaml").write_text("5")
    for file in ("c.yaml", "absent.yaml"):
        with pytest.raises(BudgetError, match=file):
            read_budget([str(tmp_path / file)])


def test_a_budget_changes_no_stage() -> None:
    plain = settings_for("petals", preset="smoke")
    limited = settings_for("petals", preset="smoke", budget=["p50<=1ms, size<=9MB"])
    assert limited.budget.limits == ("p50<=1ms@host", "size<=9MB") and limited.budget.search
    for stage in STAGES:
        first, second = (_identity(stage, settings) for settings in (plain, limited))
        assert first == second, stage.name
    changed = limited.model_copy(
        update={"bench": limited.bench.model_copy(update={"precision": "int8"})}
    )
    bench = next(stage for stage in STAGES if stage.name == "bench")
    assert _identity(bench, plain) != _identity(bench, changed)


def _identity(stage, settings: Settings) -> dict:
    alone = replace(stage, needs=(), external=None) if stage.needs else stage
    return identity(alone, settings, {})


def test_a_wrong_limit_in_the_settings_is_an_error_of_the_budget() -> None:
    with pytest.raises(BudgetError, match="did you mean 'p50'"):
        settings_for("petals", overrides={"budget": {"limits": ["p5<=1ms"]}})
