"""Endurance: two million predictions in one process, wrong inputs among them; memory stays flat.

At one prediction every 14 ms that is eight hours of a camera.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.abuse.builds import Workshop
from benchmarks.abuse.cells import LOST, SILENT, TRACEBACK, Cell, Fault, Outcome
from runtime import Classifier, EdgeError

PART = "endurance"
CALLS = 2_000_000
READINGS = 200  # of the memory
WARM_UP = 0.2  # share of the readings that is not judged: caches fill up
# bytes over the judged calls that count as flat: at 2 million, less than a byte each
GROWTH = 2**20
WRONG = 0.02  # share of wrong inputs
Predict = Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """Arguments of ``predict``; ``is_wrong``: it must be refused."""

    images: Any
    top_k: int = 3
    is_wrong: bool = False


def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """One cell: a leak shows in one long-lived process."""
    shop.reference(shop.smoke)
    yield Cell(PART, f"{round(CALLS * scale)}", partial(run, shop, round(CALLS * scale)))


def run(shop: Workshop, count: int, folder: Path) -> Outcome:
    """Predicts with the bundle of an undisturbed build."""
    bundle = shop.smoke.bundle(shop.reference(shop.smoke).work)
    classifier = Classifier.load(bundle, threads=1)
    return endure(classifier.predict, calls(folder), count)


def calls(folder: Path) -> list[Call]:
    """What is asked: every kind of image, tiny; then what must be refused."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    file = folder / "image.png"
    file.write_bytes(buffer.getvalue())
    good = [pixels, file, str(file), buffer.getvalue(), Image.fromarray(pixels), [pixels, pixels]]
    wrong = [b"", buffer.getvalue()[:60], folder / "absent.png", np.zeros((0, 0, 3), np.uint8)]
    return [
        *(Call(images) for images in good),
        *(Call(images, is_wrong=True) for images in wrong),
        Call(pixels, top_k=0, is_wrong=True),
    ]


def endure(predict: Predict, asked: Sequence[Call], count: int) -> Outcome:
    """Calls ``predict`` in random order; answers stay the same, wrong inputs are refused."""
    rng = random.Random(0)
    outcome = Outcome(cases=count)
    good = [call for call in asked if not call.is_wrong]
    wrong = [call for call in asked if call.is_wrong]
    first: dict[int, Any] = {}
    readings: list[tuple[int, int]] = []
    every = max(1, count // READINGS)
    for number in range(count):
        call = rng.choice(wrong if rng.random() < WRONG else good)
        try:
            answer = predict(call.images, call.top_k)
        except EdgeError:
            if not call.is_wrong:
                outcome.faults.append(Fault(LOST, f"call {number} is refused"))
        except Exception as error:
            outcome.faults.append(Fault(TRACEBACK, f"call {number}: {error!r}"[:300]))
        else:
            if call.is_wrong:
                outcome.faults.append(Fault(SILENT, f"call {number}: a wrong input is answered"))
            elif first.setdefault(id(call), answer) != answer:
                outcome.faults.append(Fault(SILENT, f"call {number}: another answer than before"))
        if number % every == 0:
            readings.append((number, resident_bytes()))
        if len(outcome.faults) > 20:
            break
    slope, low, high = growth(readings)
    open_files = len(os.listdir("/proc/self/fd"))
    outcome.facts = {
        "bytes_per_100k": [round(value) for value in (slope, low, high)],
        "rss_mb": [round(value / 1e6, 1) for _, value in readings[:: max(1, len(readings) // 20)]],
        "open_files": open_files,
        "threads": len(os.listdir("/proc/self/task")),
    }
    if low > 0 and slope / 1e5 * count * (1 - WARM_UP) > GROWTH:
        what = f"memory grows by {slope / 1e3:.0f} kB per 100,000 calls"
        outcome.faults.append(Fault(LOST, what))
    if open_files > 100:
        outcome.faults.append(Fault(LOST, f"{open_files} files are open"))
    return outcome


def growth(readings: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    """Bytes per 100,000 calls after the warm-up: slope and 95 % interval (Theil 1950, Sen 1968)."""
    from scipy.stats import theilslopes

    judged = readings[int(len(readings) * WARM_UP) :]
    if len(judged) < 3:
        return 0.0, 0.0, 0.0
    numbers, sizes = np.array(judged, float).T
    slope, _, low, high = theilslopes(sizes, numbers)
    return float(slope) * 1e5, float(low) * 1e5, float(high) * 1e5


def resident_bytes() -> int:
    """Memory of this process (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
