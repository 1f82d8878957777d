"""Runs models of unknown origin in a process of its own, with bounded memory and time.

An ONNX graph can compute any size from its input, so that only running it shows what it takes. The
child handles one model after the other; where one ends it, another child goes on behind it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import IMAGE, TENSOR, Runner, load
from runtime.errors import BackendError, EdgeError
from runtime.host import telemetry

SECONDS = 30  # of one model, loading it and all images,
BYTES_PER_SECOND = 5_000_000  # and of this many of its file another one
BASE_BYTES = 2 * 2**30  # of memory, besides what its file and its threads take
FILE_FACTOR = 4  # the file, the weights, and what the optimizer makes of them
THREAD_BYTES = 80 * 2**20  # of addresses: a stack, and malloc's arena
PROGRAM = "from runtime.backends.limited import child; child()"
ENGINE = "onnxruntime"  # others start GPUs, which reserve addresses without limit


@dataclass(frozen=True)
class Outcome:
    """What came of one model: its logits, or why there are none."""

    logits: np.ndarray | None = None
    error: str = ""
    is_its_fault: bool = False  # the model's; otherwise this machine lacks what it needs


@dataclass(frozen=True)
class Images:
    """The same images in every form that a model may take."""

    tensor: np.ndarray  # float32 (N, 3, S, S)
    pixels: np.ndarray  # uint8 (N, S, S, 3)
    whole: Sequence[np.ndarray]  # uint8 (H, W, 3) each

    def logits(self, runner: Runner) -> np.ndarray:
        """The model's logits (N, K)."""
        takes = getattr(runner, "takes", TENSOR)
        if takes == IMAGE:
            return np.concatenate([runner.run(image[None]) for image in self.whole])
        return runner.run(self.tensor if takes == TENSOR else self.pixels)


def outcomes(
    models: Sequence[Path], images: Images, engine: str = ENGINE, threads: int | None = None
) -> list[Outcome]:
    """What comes of each model; onnxruntime's in a child, where the system can limit one."""
    if engine != ENGINE or os.name != "posix" or getattr(sys, "frozen", False):
        return [_outcome(model, images, engine, threads) for model in models]
    done: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="clip2edge-") as folder:
        _save(Path(folder), images)
        while len(done) < len(models):
            done += _in_child(Path(folder), models[len(done) :], threads)
    return done


def _outcome(model: Path, images: Images, engine: str, threads: int | None) -> Outcome:
    try:
        runner = load(engine, model, threads=threads)
    except EdgeError as error:
        is_its_fault = not isinstance(error, BackendError) or "alloc" in str(error).lower()
        return Outcome(error=str(error), is_its_fault=is_its_fault)
    try:
        return Outcome(images.logits(runner))
    except EdgeError as error:
        return Outcome(error=str(error), is_its_fault=True)


def _in_child(folder: Path, models: Sequence[Path], threads: int | None) -> Iterator[Outcome]:
    """What comes of the first models, at least of one."""
    order = {"folder": str(folder), "models": [str(model) for model in models], "threads": threads}
    command = [sys.executable, "-c", PROGRAM]
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    done = subprocess.run(command, input=json.dumps(order).encode(), env=environment(), **how)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    for answer in answers:
        file = answer.pop("file")
        logits = np.load(folder / file, allow_pickle=False) if file else None
        yield Outcome(logits, **answer)
    if len(answers) < len(models):
        yield Outcome(error=_why(done.returncode), is_its_fault=True)


def _why(code: int) -> str:
    if -code in (signal.SIGALRM, signal.SIGXCPU):
        return "stopped: it takes much longer than a model of its size may"
    number = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended with {number}: it takes more memory than a model of its size may"


def environment() -> Mapping[str, str]:
    """The variables of a Python child that can import this package."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
    return {**os.environ, "PYTHONPATH": path}


def _save(folder: Path, images: Images) -> None:
    np.save(folder / "tensor.npy", images.tensor)
    np.save(folder / "pixels.npy", images.pixels)
    for index, image in enumerate(images.whole):
        np.save(folder / f"{index}.npy", image)


def _saved(folder: Path) -> Images:
    tensor, pixels = (np.load(folder / f"{name}.npy") for name in ("tensor", "pixels"))
    return Images(tensor, pixels, [np.load(folder / f"{i}.npy") for i in range(len(tensor))])


def child() -> None:
    """Runs in the child: one line of JSON for each model, a file for its logits."""
    from runtime.backends import onnxruntime

    order = json.loads(sys.stdin.buffer.read())
    folder = Path(order["folder"])
    images = _saved(folder)
    onnxruntime.import_onnxruntime()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, also inside the engine
    for index, name in enumerate(order["models"]):
        _limit(Path(name), order["threads"])
        outcome = _outcome(Path(name), images, ENGINE, order["threads"])
        file = f"{index}.logits.npy" if outcome.logits is not None else ""
        if outcome.logits is not None:
            np.save(folder / file, outcome.logits, allow_pickle=False)
        answer = {"file": file, "error": outcome.error, "is_its_fault": outcome.is_its_fault}
        print(json.dumps(answer), flush=True)


def _limit(model: Path, threads: int | None) -> None:
    """Bounds the memory and time of what follows, from now on."""
    import resource

    size = model.stat().st_size if model.is_file() else 0
    signal.setitimer(signal.ITIMER_REAL, SECONDS + size / BYTES_PER_SECOND)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = telemetry.address_bytes()
    if used is None:
        return
    count = threads if isinstance(threads, int) else telemetry.usable_cores()
    budget = BASE_BYTES + FILE_FACTOR * size
    available = telemetry.available_bytes() or budget
    most = used + min(budget, available) + count * THREAD_BYTES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
