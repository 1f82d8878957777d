"""How long quantization trains."""

from __future__ import annotations

from compress.engine.config import QuantizeSettings
from compress.quantize.schedule import PROBE_BATCHES, compared_batches, training_steps


def test_calibration_alone_trains_nothing_and_compares_one_batch() -> None:
    assert training_steps(QuantizeSettings(mode="ptq", steps=9)) == 0
    assert training_steps(QuantizeSettings(steps=9)) == 9
    assert compared_batches(0) == 1 and compared_batches(9) == PROBE_BATCHES
