"""Cold start: what the first image costs in a process that did not exist before.

The child imports the runtime, loads the bundle, classifies one image, and reports times, peak
memory and the modules it loaded. The page cache is left alone: dropping it needs root.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends.limited import environment
from runtime.classifier import Classifier
from runtime.errors import BackendError
from runtime.files.strict_json import to_text
from runtime.host.telemetry import peak_rss_bytes, rss_bytes

PROGRAM = (
    "import time; start = time.perf_counter(); from runtime.bench.cold import child; child(start)"
)
LATER_CALLS, LATER_S = 21, 0.5  # calls after the first, and the time in which no further one begins
# modules that the child must not load
HEAVY = ("torch", "torchvision", "timm", "typer", "pydantic", "onnx", "compress", "export")


@dataclass(frozen=True)
class Cold:
    """Milliseconds of each part of a cold start, peak memory, and loaded modules of ``HEAVY``.

    First and later calls are the same: ``Classifier.predict`` of one image.
    """

    import_ms: float
    load_ms: float
    first_ms: float
    process_ms: float | None  # from the start of the process to its end, interpreter included
    peak_rss_bytes: int | None
    heavy_modules: tuple[str, ...]
    warm_ms: float | None = None  # median of later calls that do what the first one did
    # what the engine and the model add to Python, numpy and Pillow: an app without them holds this
    engine_bytes: int | None = None

    @property
    def row_fields(self) -> dict[str, Any]:
        """The fields that a latency row takes over."""
        return {name: getattr(self, name) for name in ("load_ms", "first_ms", "peak_rss_bytes")}


def measure_cold(
    bundle: str | Path,
    precision: str = "auto",
    threads: int | None = None,
    image: str | Path | None = None,
    backend: str = "onnxruntime",
    **options: Any,
) -> Cold:
    """Classifies one image (default: a gray one) in a new process; ``options`` are the engine's.

    Raises: BackendError: the process failed; the message is its last line.
    """
    order = {
        "bundle": str(bundle),
        "image": image and str(image),
        "load": {"precision": precision, "threads": threads, "backend": backend, **options},
    }
    command = [sys.executable, "-c", PROGRAM]
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "replace", "env": environment()}
    start = time.perf_counter()
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, **how)
    process_ms = (time.perf_counter() - start) * 1e3
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise BackendError("the cold process failed", got=last_line)
    facts = json.loads(done.stdout.splitlines()[-1])
    heavy_modules = tuple(facts.pop("heavy_modules"))
    return Cold(process_ms=process_ms, heavy_modules=heavy_modules, **facts)


def child(start: float) -> None:
    """Runs in the new process; ``start`` is when it began to import."""
    imported = time.perf_counter()
    order = json.loads(sys.stdin.read())
    before = rss_bytes()
    classifier = Classifier.load(order["bundle"], **order["load"])
    loaded = time.perf_counter()
    gray = np.full((classifier.spec.size, classifier.spec.size, 3), 128, np.uint8)
    classifier.predict(order["image"] or gray)
    done = time.perf_counter()
    later: list[float] = []
    while not later or (len(later) < LATER_CALLS and time.perf_counter() - done < LATER_S):
        begun = time.perf_counter()
        classifier.predict(order["image"] or gray)
        later.append(time.perf_counter() - begun)
    facts = {
        "import_ms": (imported - start) * 1e3,
        "load_ms": (loaded - imported) * 1e3,
        "first_ms": (done - loaded) * 1e3,
        "warm_ms": float(np.median(later)) * 1e3,
        "peak_rss_bytes": peak_rss_bytes(),
        "engine_bytes": None if before is None else max((rss_bytes() or 0) - before, 0),
        "heavy_modules": [name for name in HEAVY if name in sys.modules],
    }
    print(to_text(facts))
