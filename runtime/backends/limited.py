"""Runs models of unknown origin in a process of its own, with bounded memory and time.

An ONNX graph can compute any size from its input, so that only running it shows what it takes.

``outcomes`` verifies: each model has ``SECONDS``, and more by its size; where one ends the child,
another child goes on behind it. ``overrun`` tries what a command is about to load: one child and
one time limit for all models, one image each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import BACKENDS, IMAGE, TENSOR, Runner, backend, load
from runtime.errors import BackendError, EdgeError
from runtime.files.manifest import companion
from runtime.host import telemetry

SECONDS = 30  # of one model, loading it and all images; of ``overrun``, of all models,
BYTES_PER_SECOND = 5_000_000  # and of this many of its file another one
BASE_BYTES = 2 * 2**30  # of memory, besides what its file and its threads take
FILE_FACTOR = 4  # the file, the weights, and what the optimizer makes of them
THREAD_BYTES = 80 * 2**20  # of addresses: a stack, and malloc's arena
PROGRAM = "from runtime.backends.limited import child; child()"
LOGITS, FEATURES = "logits", "features"
ENGINE = "onnxruntime"


def can_limit(engine: str = ENGINE) -> bool:
    """Whether a child can be started here, and limited: GPUs reserve addresses without limit."""
    is_bounded = engine in BACKENDS and BACKENDS[engine].memory_is_limited
    return is_bounded and os.name == "posix" and not getattr(sys, "frozen", False)


@dataclass(frozen=True)
class Outcome:
    """What came of one model: its logits, or why there are none; features if it has any."""

    logits: np.ndarray | None = None
    error: str = ""
    is_its_fault: bool = False  # the model's; otherwise this machine lacks what it needs
    features: np.ndarray | None = None


@dataclass(frozen=True)
class Noise:
    """One image of noise, or as many as the model fixes, of edge ``size``."""

    size: int

    def outputs(self, runner: Any) -> dict[str, np.ndarray]:
        """The model's logits (N, K)."""
        batch: np.ndarray = runner.blank(self.size)
        rng = np.random.Generator(np.random.Philox(0))
        if batch.dtype == np.uint8:
            batch = rng.integers(0, 256, batch.shape, np.uint8)
        else:
            batch = rng.standard_normal(batch.shape, np.float32)
        return {LOGITS: runner.run(batch)}


@dataclass(frozen=True)
class Images:
    """The same images in every form that a model may take."""

    tensor: np.ndarray  # float32 (N, 3, S, S)
    pixels: np.ndarray  # uint8 (N, S, S, 3)
    whole: Sequence[np.ndarray]  # uint8 (H, W, 3) each

    def outputs(self, runner: Runner) -> dict[str, np.ndarray]:
        """The model's logits (N, K), and its features (N, D) if it has any."""
        names = [LOGITS, *(FEATURES for name in runner.outputs if name == FEATURES)]
        takes = getattr(runner, "takes", TENSOR)
        if takes == IMAGE:
            rows = [runner.run_all(image[None], names) for image in self.whole]
            return {name: np.concatenate([row[name] for row in rows]) for name in names}
        return runner.run_all(self.tensor if takes == TENSOR else self.pixels, names)


def outcomes(
    models: Sequence[Path], images: Images, engine: str = ENGINE, threads: int | None = None
) -> list[Outcome]:
    """What comes of each model; in a child, where the system and the engine can be limited."""
    if not can_limit(engine):
        return [_outcome(model, images, engine, threads) for model in models]
    done: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="clip2edge-") as folder:
        _save(Path(folder), images)
        while len(done) < len(models):
            done += _in_child(Path(folder), models[len(done) :], engine, threads)
    return done


def overrun(
    models: Mapping[Path, int], threads: int | None, engine: str = ENGINE
) -> tuple[str, bool]:
    """Why one of the models (file -> edge S of its image) needs more than it may, or "".

    And whether all gave logits: another failure is told by whoever loads the model next.
    """
    order = {"models": list(map(str, models)), "sizes": list(models.values()), "threads": threads}
    done = _child({**order, "engine": engine, "seconds": _seconds(models)})
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    errors = [answer["error"] for answer in answers]
    if len(answers) < len(models):
        errors.append(_why(done.returncode))
        return f"{list(models)[len(answers)]}: {errors[-1]}", False
    over = (f"{file}: {why}" for file, why in zip(models, errors, strict=True) if _is_memory(why))
    return next(over, ""), not any(errors)


def _is_memory(error: str) -> bool:
    return "alloc" in error.lower()


def _outcome(model: Path, images: Images | Noise, engine: str, threads: int | None) -> Outcome:
    try:
        runner = load(engine, model, threads=threads)
    except EdgeError as error:
        is_its_fault = not isinstance(error, BackendError) or _is_memory(str(error))
        return Outcome(error=str(error), is_its_fault=is_its_fault)
    try:
        outputs = images.outputs(runner)
        return Outcome(outputs[LOGITS], features=outputs.get(FEATURES))
    except EdgeError as error:
        return Outcome(error=str(error), is_its_fault=True)


def _in_child(
    folder: Path, models: Sequence[Path], engine: str, threads: int | None
) -> Iterator[Outcome]:
    """What comes of the first models, at least of one."""
    order = {"folder": str(folder), "models": [str(model) for model in models], "threads": threads}
    done = _child({**order, "engine": engine})
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    for answer in answers:
        files = answer.pop("files")
        arrays = {name: np.load(folder / file, allow_pickle=False) for name, file in files.items()}
        yield Outcome(**arrays, **answer)
    if len(answers) < len(models):
        yield Outcome(error=_why(done.returncode), is_its_fault=True)


def _child(order: Mapping[str, Any]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PROGRAM]
    how: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, input=json.dumps(order).encode(), env=environment(), **how)


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
    """Runs in the child: one line of JSON for each model, files for its outputs if asked for."""
    order = json.loads(sys.stdin.buffer.read())
    folder = Path(order["folder"]) if "folder" in order else None
    images = _saved(folder) if folder else None
    engine = order["engine"]
    backend(engine).preload()  # its library is no model's
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, also inside the engine
    if "seconds" in order:
        signal.setitimer(signal.ITIMER_REAL, order["seconds"])
    for index, name in enumerate(order["models"]):
        if "seconds" not in order:
            signal.setitimer(signal.ITIMER_REAL, _seconds([Path(name)]))
        _limit(Path(name), order["threads"])
        what = images or Noise(order["sizes"][index])
        outcome = _outcome(Path(name), what, engine, order["threads"])
        files = {}
        for kind in (LOGITS, FEATURES):
            array = getattr(outcome, kind)
            if folder and array is not None:
                files[kind] = f"{index}.{kind}.npy"
                np.save(folder / files[kind], array, allow_pickle=False)
        answer = {"files": files, "error": outcome.error, "is_its_fault": outcome.is_its_fault}
        print(json.dumps(answer), flush=True)


def _size(model: Path) -> int:
    parts = [model, model.with_name(companion(model.name) or model.name)]
    return sum(part.stat().st_size for part in dict.fromkeys(parts) if part.is_file())


def _seconds(models: Iterable[Path]) -> float:
    return SECONDS + sum(map(_size, models)) / BYTES_PER_SECOND


def _limit(model: Path, threads: int | None) -> None:
    """Bounds the memory of what follows."""
    import resource

    size = _size(model)
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
