"""A stranger's model ends within limits, and the others are still answered."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from odd_models import change, endless_loop, outer_sums, times

from runtime import golden
from runtime.backends import limited


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def states(bundle: Path) -> dict[str, golden.GoldenStep]:
    return {step.name: step for step in golden.verify(bundle, threads=1)}


def test_a_model_that_takes_all_memory_differs_and_the_next_is_verified(bundle: Path) -> None:
    change(bundle, ("model.fp32.onnx",), outer_sums)
    found = states(bundle)
    assert found["logits fp32"].state == "differs" and found["logits fp32"].detail
    assert found["logits int8"].state == "ok"


def test_a_loop_differs(bundle: Path) -> None:
    change(bundle, ("model.fp32.onnx",), endless_loop)
    step = states(bundle)["logits fp32"]
    assert step.state == "differs" and "Loop" in step.detail


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_differ(bundle: Path, value: float) -> None:
    change(bundle, ("model.int8.onnx",), times(value))
    assert states(bundle)["logits int8"].state == "differs"


def test_a_process_that_dies_is_the_models_fault() -> None:
    assert "much longer" in limited._why(-14) and "signal 9" in limited._why(-9)
