"""How long quantization trains, by the settings alone; imports no torch."""

from __future__ import annotations

from compress.engine.config import QuantizeSettings

PROBE_BATCHES = 4  # unseen training batches on which calibrated and trained weights are compared


def training_steps(settings: QuantizeSettings) -> int:
    """Updates through the rounding; 0: calibration alone."""
    return 0 if settings.mode == "ptq" else settings.steps


def compared_batches(steps: int) -> int:
    """Unseen batches on which losses are compared: one alone where nothing is trained."""
    return PROBE_BATCHES if steps else 1
