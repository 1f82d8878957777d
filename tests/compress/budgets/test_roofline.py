"""The roofline on kernels with known operations and bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compress.budgets.costs import Costs
from compress.budgets.devices import DeviceProfile, device
from compress.budgets.kernels import Kernel
from compress.budgets.roofline import estimate
from compress.budgets.table import head

GIGA = 1e9


def kernel(
    ops: float = GIGA,
    kind: str = "dense",
    precision: str = "fp32",
    moved: float = 0.0,
    weights: float = 0.0,
) -> Kernel:
    return Kernel(
        "Conv", "node", "block", kind, precision, int(ops / 2), ops, weights, moved / 2, moved / 2
    )


def costs(*kernels: Kernel) -> Costs:
    return Costs(kernels, (1, 3, 8, 8), 1e6, ())


def p50_ms(work: Costs, profile: DeviceProfile, precision: str) -> float:
    return estimate(work, profile, precision).p50_ms


def test_the_longer_of_computing_and_moving_counts() -> None:
    profile = replace(device("pi5"), overhead_s=0.0, fixed_s=0.0)
    compute = 1e3 * GIGA / (profile.peak["fp32"] * profile.utilization["dense"])
    assert p50_ms(costs(kernel()), profile, "fp32") == pytest.approx(compute)
    moving = 1e3 * GIGA / (profile.bandwidth * profile.utilization["memory"])
    bound = estimate(costs(kernel(ops=1.0, moved=GIGA)), profile, "fp32")
    assert bound.p50_ms == pytest.approx(moving)
    assert bound.rows[0].bound == "memory" and bound.bound["memory"] == 1.0


def test_what_fits_the_cache_is_read_from_there() -> None:
    profile = replace(device("pi5"), overhead_s=0.0, fixed_s=0.0)
    moving = 1e3 * 1e5 / (profile.cache_bandwidth * profile.utilization["memory"])
    assert p50_ms(costs(kernel(ops=1.0, moved=1e5)), profile, "fp32") == pytest.approx(moving)


def test_overhead_is_per_kernel_and_fixed_per_image() -> None:
    profile = device("orin-nano")
    one, three = (p50_ms(costs(*[kernel(ops=0.0)] * n), profile, "fp16") for n in (1, 3))
    assert three - one == pytest.approx(2e3 * profile.overhead_s)
    assert one == pytest.approx(1e3 * (profile.overhead_s + profile.fixed_s))


@pytest.mark.parametrize("name", ["orin-nano", "thor", "xavier-nx", "phone-npu-high"])
def test_fp16_is_faster_where_it_is_accelerated(name: str) -> None:
    work = costs(kernel(moved=1e7, weights=1e7), kernel(kind="depthwise", moved=1e7))
    assert p50_ms(work, device(name), "fp16") < p50_ms(work, device(name), "fp32")


def test_a_missing_precision_is_computed_in_fp32_and_int8_is_faster() -> None:
    pi = device("pi5")
    work = costs(kernel(moved=1e7, weights=1e7), kernel(kind="depthwise", moved=1e7))
    assert pi.computes("fp16") == "fp32"
    assert p50_ms(work, pi, "fp16") == p50_ms(work, pi, "fp32")
    int8 = costs(kernel(precision="int8"))
    assert p50_ms(int8, pi, "int8") < p50_ms(costs(kernel()), pi, "fp32")


def test_an_estimate_always_says_that_it_is_one() -> None:
    rough = estimate(costs(kernel()), device("orin-nano"), "fp16")
    assert rough.to_json()["basis"] == "estimate" and rough.to_json()["calibration"] is None
    assert rough.value("p99") is None and rough.value("load") is None  # no tail, no start
    assert rough.energy_mj == pytest.approx(15.0 * rough.p50_ms)
    assert any("factor of two" in line for line in head(device("orin-nano"), {"fp16": rough}))
