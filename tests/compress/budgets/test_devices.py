"""Profiles of hardware: every device, the rules for a profile, boards known by their names."""

from __future__ import annotations

import pytest
import yaml
from report_devices import ORIN, PI

from compress.budgets.devices import FOLDER, device, from_plain, lines, matching, names
from compress.budgets.variants import ENGINES, PRECISIONS
from compress.engine.errors import BudgetError, ConfigError

JETSONS = {"orin-nano", "orin-nano-super", "orin-nx", "agx-orin", "thor", "xavier-nx"}
PHONES = {"phone-npu-high", "phone-npu-mid", "phone-npu-entry"}
DEVICES = {"host", "pi4", "pi5", *JETSONS, *PHONES}


def test_every_device_is_listed() -> None:
    assert set(names()) == DEVICES and len(lines()) == len(DEVICES)


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_a_profile_has_sources_and_rates_that_order(name: str) -> None:
    profile = device(name)
    dense = profile.rate("int8") / profile.utilization["dense"]
    assert profile.peak["fp32"] <= dense or "int8" not in profile.peak
    assert profile.sources["peak_tops"] and profile.sources["utilization"]
    assert profile.rate("int8", "depthwise") <= profile.rate("int8", "dense") * 4
    assert profile.engine in ENGINES and set(profile.peak) <= set(PRECISIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": {}}, "without a source"),
        ({"peak_tops": {"fp32": 0.0}}, "not positive"),
        ({"peak_tops": {"int8": 1.0}}, "peak of fp32"),
        ({"utilization": {"dense": 0.5}}, "utilization"),
        ({"tops": 3}, "tops"),
        ({"bandwidth_gb_s": -1.0}, "not positive"),
    ],
)
def test_a_profile_that_breaks_a_rule_is_refused(change: dict, message: str) -> None:
    plain = yaml.safe_load((FOLDER / "orin-nano.yaml").read_text())
    assert from_plain("x", plain).title
    with pytest.raises(ConfigError, match=message):
        from_plain("x", {**plain, **change})


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(BudgetError, match="did you mean 'pi5'"):
        device("pi6")


def test_boards_are_known_by_their_own_names() -> None:
    assert matching(PI["device"]) == ["pi5"]
    assert set(matching(ORIN["device"])) == {"orin-nano", "orin-nano-super"}
    assert matching("NVIDIA Jetson AGX Orin Developer Kit") == ["agx-orin"]
    assert matching(None) == matching("Toaster") == []
