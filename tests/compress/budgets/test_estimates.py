"""Estimates of a bundle: which file computes which precision, and the parts of the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.budgets.devices import device
from compress.budgets.estimates import estimates, models_of
from compress.budgets.table import blocks
from compress.engine.errors import BudgetError


def test_a_bundle_is_estimated_with_the_files_of_the_device(smoke: Path) -> None:
    models = models_of(smoke / "bundle")
    assert list(estimates(models, device("pi5"))) == ["fp32", "int8"]
    orin = estimates(models, device("orin-nano"))
    assert list(orin) == ["fp32", "fp16", "int8"]
    assert orin["fp16"].weight_bytes == pytest.approx(orin["fp32"].weight_bytes / 2)


def test_the_blocks_of_an_estimate_hold_all_its_kernels(smoke: Path) -> None:
    int8 = estimates(models_of(smoke / "bundle"), device("orin-nano"))["int8"]
    rows = blocks(int8)
    assert sum(row.kernels for row in rows) == len(int8.rows)
    assert "layers.0" in {row.name for row in rows}


def test_one_file_is_int8_if_it_holds_qdq_pairs(smoke: Path) -> None:
    bundle = smoke / "bundle"
    for key in ("fp32", "int8"):
        file = bundle / f"model.{key}.onnx"
        assert models_of(file) == {key: file}


def test_what_is_no_model_cannot_be_estimated(smoke: Path) -> None:
    with pytest.raises(BudgetError, match="nothing to estimate"):
        models_of(smoke / "report.json")
