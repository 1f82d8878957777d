"""Experiment trackers: curves of a build and figures of its report, in the tools that people use.

A tracker hears what the progress bars hear; no stage knows of it. Rows of one table, each an
optional package; none is used unless asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from compress.engine.errors import MissingExtraError, lookup
from compress.engine.progress import Progress, Task

EVERY_S = 1.0  # between two points of a curve, at least: a tracker may be far away
EXPERIMENT = "clip2edge"


class Tracker(Protocol):
    """A place that keeps curves and figures."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """The settings of the run, by dotted name."""

    def points(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves, by name, e.g. "distill/loss"."""

    def close(self) -> None:
        """Everything is written."""


class TensorBoard:
    """Event files in ``RUN/tensorboard``."""

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", "tensorboard") from error
        self._writer: Any = SummaryWriter(str(run / "tensorboard"))  # type: ignore[no-untyped-call]

    def settings(self, values: Mapping[str, Any]) -> None:
        text = "\n".join(f"    {name}: {value}" for name, value in values.items())
        self._writer.add_text("settings", text)

    def points(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class MLflow:
    """A run of the experiment ``clip2edge`` on ``MLFLOW_TRACKING_URI``."""

    MOST = 100  # parameters of one call
    LONGEST = 250  # characters of a parameter that every server takes

    def __init__(self, run: Path) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise _missing("mlflow", "mlflow-skinny") from error
        self._mlflow: Any = mlflow
        mlflow.set_experiment(EXPERIMENT)
        mlflow.start_run(run_name=run.name)

    def settings(self, values: Mapping[str, Any]) -> None:
        rows = [(name, str(value)[: self.LONGEST]) for name, value in values.items()]
        for at in range(0, len(rows), self.MOST):
            self._mlflow.log_params(dict(rows[at : at + self.MOST]))

    def points(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow}


def trackers(names: Sequence[str], run: Path) -> list[Tracker]:
    """The trackers of these names.

    Raises:
        ConfigError: an unknown name, with the nearest one.
        MissingExtraError: a package that is not installed.
    """
    rows = [lookup(TRACKERS, name, "unknown tracker") for name in dict.fromkeys(names)]
    return [row(run) for row in rows]


def _missing(name: str, package: str) -> MissingExtraError:
    return MissingExtraError(f"{name} is not installed", remedy=f"pip install {package}")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    out: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def figures(report: Mapping[str, Any]) -> dict[str, float]:
    """The figures of report.json that runs are compared by."""
    out = {f"top1/{name}": row["top1"] for name, row in report["accuracy"].items()}
    out |= {f"megabytes/{name}": size / 1e6 for name, size in report["size_bytes"].items()}
    out |= {f"seconds/{name}": seconds for name, seconds in report["timings_s"].items()}
    shipped = report["student"]["shipped"].removeprefix("student_")
    for row in report["latency"]:
        alone = (row["batch"], row["includes"]) == (1, "compute")
        if alone and row["model"] != "teacher" and row["precision"] == shipped and row["p50_ms"]:
            out.setdefault(f"p50_ms/{row['threads']}-thread", row["p50_ms"])
    return {name: float(value) for name, value in out.items()}


@dataclass
class TrackedTask:
    """A task whose values become curves."""

    task: Task
    name: str
    trackers: Sequence[Tracker]
    step: int
    last: float = -EVERY_S
    open: dict[str, float] = field(default_factory=dict)  # values since the last point

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        self.task.advance(amount, wait_s=wait_s, **values)
        self.step += amount
        if values:
            self.open = {f"{self.name}/{key}": value for key, value in values.items()}
            if time.perf_counter() - self.last >= EVERY_S:
                self.write()

    def write(self) -> None:
        """The last values, if they are not written yet."""
        if self.open:
            self.last = time.perf_counter()
            for tracker in self.trackers:
                tracker.points(self.step, self.open)
            self.open = {}


@dataclass(frozen=True)
class TrackedProgress:
    """Progress that trackers hear too."""

    progress: Progress
    trackers: Sequence[Tracker]

    @contextmanager
    def task(self, name: str, total: int, unit: str = "step", done: int = 0) -> Iterator[Task]:
        with self.progress.task(name, total, unit, done) as task:
            tracked = TrackedTask(task, name, self.trackers, done)
            yield tracked
            tracked.write()

    def note(self, text: str) -> None:
        self.progress.note(text)

    def stage(self, name: str, number: int, count: int) -> None:
        self.progress.stage(name, number, count)


@contextmanager
def tracked(
    progress: Progress, names: Sequence[str], run: Path, settings: Mapping[str, Any]
) -> Iterator[TrackedProgress]:
    """Progress that trackers hear for a build, whose settings they get first."""
    kept = trackers(names, run)
    try:
        for tracker in kept:
            tracker.settings(flat(settings))
        yield TrackedProgress(progress, kept)
    finally:
        for tracker in kept:
            tracker.close()
