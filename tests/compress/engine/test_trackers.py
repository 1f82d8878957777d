"""Curves and figures arrive in the trackers themselves: TensorBoard's files, MLflow's store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compress.engine import trackers as module
from compress.engine.errors import ConfigError, MissingExtraError
from compress.engine.progress import SILENT
from compress.engine.trackers import TrackedProgress, figures, flat, tracked, trackers

ROOT = Path(__file__).parents[3]
REPORT: Mapping[str, Any] = {
    "accuracy": {"student_int8": {"top1": 0.93}, "teacher": {"top1": 0.95}},
    "size_bytes": {"student_int8": 168_000},
    "timings_s": {"distill": 16.8},
    "student": {"shipped": "student_int8"},
    "latency": [
        {
            "model": "teacher",
            "precision": "fp32",
            "batch": 1,
            "includes": "compute",
            "threads": 1,
            "p50_ms": 3.0,
        },
        {
            "model": "student",
            "precision": "int8",
            "batch": 1,
            "includes": "compute",
            "threads": 1,
            "p50_ms": 0.05,
        },
        {
            "model": "student",
            "precision": "int8",
            "batch": 8,
            "includes": "compute",
            "threads": 1,
            "p50_ms": 0.4,
        },
    ],
}
SAID = {
    "top1/student_int8": 0.93,
    "top1/teacher": 0.95,
    "megabytes/student_int8": 0.168,
    "seconds/distill": 16.8,
    "p50_ms/1-thread": 0.05,
}


class Heard:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def settings(self, values: Mapping[str, Any]) -> None:
        raise AssertionError("not asked for")

    def points(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        raise AssertionError("not asked for")


def test_a_point_a_second_and_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    heard = Heard()
    with TrackedProgress(SILENT, [heard]).task("distill", total=10, done=3) as task:
        for step in range(7):
            now[0] += 0.4
            task.advance(loss=float(step))
    assert heard.rows == [
        (4, {"distill/loss": 0.0}),
        (7, {"distill/loss": 3.0}),
        (10, {"distill/loss": 6.0}),
    ]
    with TrackedProgress(SILENT, [heard]).task("read", total=2) as task:
        task.advance(2)
    assert len(heard.rows) == 3


def test_figures_of_a_report_and_settings_by_name() -> None:
    assert figures(REPORT) == SAID
    assert flat({"data": {"shots": 4}, "seed": 0}) == {"data.shots": 4, "seed": 0}


def test_tensorboard_gets_curves_figures_and_settings(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracked(SILENT, ["tensorboard"], tmp_path / "run", {"data": {"shots": 4}}) as progress:
        with progress.task("distill", total=2) as task:
            task.advance(loss=0.5)
            task.advance(loss=0.25)
        for one in progress.trackers:
            one.points(0, figures(REPORT))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    loss = [(point.step, point.value) for point in events.Scalars("distill/loss")]
    assert loss == [(1, 0.5), (2, 0.25)]
    for name, value in SAID.items():
        assert [point.value for point in events.Scalars(name)] == [pytest.approx(value)]
    assert "settings/text_summary" in events.Tags()["tensors"]


def test_unknown_and_missing_ones_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        trackers(["tensorbord"], tmp_path)
    assert trackers([], tmp_path) == []
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match="pip install mlflow-skinny"):
        trackers(["mlflow"], tmp_path)


@pytest.mark.slow
def test_mlflow_gets_them_too(tmp_path: Path) -> None:
    """In an environment of its own: its pins do not go with ours."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "mlflow-skinny"]
    subprocess.run(install, check=True, capture_output=True)
    program = (
        "import mlflow\n"
        "from pathlib import Path\n"
        "from compress.engine.progress import SILENT\n"
        "from compress.engine.trackers import tracked\n"
        "many = {f'n{i}': 'x' * 300 for i in range(150)}\n"
        "with tracked(SILENT, ['mlflow'], Path('runs/mine'), {'data': many}) as progress:\n"
        "    with progress.task('distill', total=2) as task:\n"
        "        task.advance(2, loss=0.25)\n"
        "    progress.trackers[0].points(0, {'top1/student_int8': 0.93})\n"
        "client = mlflow.MlflowClient()\n"
        "experiment = client.get_experiment_by_name('clip2edge').experiment_id\n"
        "(run,) = client.search_runs([experiment])\n"
        "metrics = dict(sorted(run.data.metrics.items()))\n"
        "print(run.info.run_name, run.info.status, len(run.data.params), metrics)\n"
    )
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": (tmp_path / "store").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    ended = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    said = "mine FINISHED 150 {'distill/loss': 0.25, 'top1/student_int8': 0.93}"
    assert ended.stdout.strip().splitlines()[-1] == said
