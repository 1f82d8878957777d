"""Files of the bench stage, and the only place that spells their names.

    accuracy.json     per model variant: top-1, interval, macro-F1, ECE, per class, confusion,
                      reliability, the last at the bundle's temperature too; paired comparisons;
                      changes between two variants; top-1 per domain and its mean
    predictions.npz   labels (N,) and the logits (N, K) of every variant, float32
    field.json        the shipped model on images of no class and on corrupted test images
    unknown.npz       pictures (P, S, S, 3) of images of no class that pass as known
    latency.json      rows with quantiles and energy, speed-ups with intervals, the breakdown of an
                      image's time, cold starts, executed kernels, the host

Unfinished, under ``partial/``: ``<test set>.<variant>.<row>.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.store import write_json

ACCURACY, LATENCY, PREDICTIONS = "accuracy.json", "latency.json", "predictions.npz"
FIELD, UNKNOWN = "field.json", "unknown.npz"


@dataclass(frozen=True)
class Predictions:
    """Answers to the test split."""

    labels: NDArray[np.int64]  # (N,)
    logits: Mapping[str, NDArray[np.float32]]  # model variant -> (N, K)


@dataclass(frozen=True)
class Int8Kernels:
    """Kernels of the int8 file in onnxruntime's profile: name -> nodes, and the judgment."""

    ran: dict[str, int]
    is_quantized: bool


def part_path(partial: Path, test_set: str, variant: str, first_row: int) -> Path:
    """The logits of a part of a test set until the stage is finished."""
    return partial / f"{test_set}.{variant}.{first_row:08d}.safetensors"


@dataclass(frozen=True)
class BenchArtifact:
    """The folder of a bench stage, finished or being written."""

    folder: Path

    @property
    def has_predictions(self) -> bool:
        """Whether the answers to the test split are at hand."""
        return (self.folder / PREDICTIONS).is_file()

    def predictions(self) -> Predictions:
        """The answers of every variant to the test split."""
        with np.load(self.folder / PREDICTIONS, allow_pickle=False) as stored:
            logits = {name: stored[name] for name in stored.files if name != "labels"}
            return Predictions(stored["labels"], logits)

    def accuracy(self) -> Any:
        """accuracy.json."""
        return json.loads((self.folder / ACCURACY).read_text(encoding="utf-8"))

    def latency(self) -> Any:
        """latency.json."""
        return json.loads((self.folder / LATENCY).read_text(encoding="utf-8"))

    def field(self) -> Any:
        """field.json; None in a stage of an older version."""
        file = self.folder / FIELD
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def passed(self) -> NDArray[np.uint8]:
        """The pictures (P, S, S, 3) of images of no class that pass as known."""
        if not (self.folder / UNKNOWN).exists():
            return np.zeros((0, 1, 1, 3), np.uint8)
        with np.load(self.folder / UNKNOWN, allow_pickle=False) as stored:
            pictures: NDArray[np.uint8] = stored["pictures"]
            return pictures

    def write_field(self, field: Mapping[str, Any], pictures: NDArray[np.uint8]) -> None:
        """Writes field.json and the pictures."""
        write_json(self.folder / FIELD, field)
        np.savez_compressed(self.folder / UNKNOWN, pictures=pictures)

    def write_accuracy(self, accuracy: Mapping[str, Any], predictions: Predictions) -> None:
        """Writes accuracy.json and the answers it was computed from."""
        write_json(self.folder / ACCURACY, accuracy)
        arrays: dict[str, Any] = {"labels": predictions.labels, **predictions.logits}
        np.savez_compressed(self.folder / PREDICTIONS, **arrays)

    def write_latency(self, latency: Mapping[str, Any]) -> None:
        """Writes latency.json."""
        write_json(self.folder / LATENCY, latency)
