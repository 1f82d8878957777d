"""The gates that the shipped weights pass."""

from __future__ import annotations

import json

import pytest

from benchmarks.petals_training.evaluate import GATES, require
from compress.engine.errors import TrainingError
from compress.petals.weights import WEIGHTS, read_json


def test_the_shipped_metrics_pass_the_gates() -> None:
    require(read_json(WEIGHTS / "metrics.json"))


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_refuses_a_value_outside(gate: str) -> None:
    metrics = json.loads((WEIGHTS / "metrics.json").read_text())
    *parents, last = gate.split(".")
    place = metrics
    for parent in parents:
        place = place[parent]
    place[last] = GATES[gate][1] + 0.001 if GATES[gate][1] != 1.0 else -1.0
    with pytest.raises(TrainingError, match=last):
        require(metrics)
