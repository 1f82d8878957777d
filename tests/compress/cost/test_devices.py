"""The table of devices: every number has its source, peaks are dense."""

from __future__ import annotations

import os

import pytest

from compress.budgets.devices import device
from compress.cost.devices import trainers


def test_every_number_has_a_source_and_a_sensible_size() -> None:
    rows = trainers()
    assert [row.name for row in rows][-1] == "host" and len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert {"peak_tflops", "utilization"} <= set(row.sources) or row.name == "host"
        assert all(row.sources.values()) and 0 < row.utilization <= 1
        assert row.peak["fp32"] <= row.peak_in("bf16")
        assert row.rate("fp32") == row.utilization * row.peak["fp32"]


def test_peaks_of_data_sheets_without_sparsity() -> None:
    bf16 = {row.name: row.peak_in("bf16") / 1e12 for row in trainers()}
    assert (bf16["h100"], bf16["a100"], bf16["l4"]) == (989, 312, 121)


def test_this_machine_is_all_its_cores_in_fp32() -> None:
    host = trainers()[-1]
    one = device("host").peak["fp32"]
    assert host.peak_in("bf16") == host.peak["fp32"] == pytest.approx(one * (os.cpu_count() or 1))
