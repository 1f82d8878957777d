"""The one command that makes the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.petals_training import train
from compress.engine.errors import TrainingError


def test_help_names_every_phase_and_imports_no_torch() -> None:
    code = (
        "import sys; from benchmarks.petals_training import train; assert 'torch' not in "
        "sys.modules; train.main(['--help'])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert all(phase in out for phase in train.PHASES)


def test_phases_with_a_receipt_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for phase in train.PHASES:
        monkeypatch.setitem(train.PHASES, phase, lambda job, phase=phase: ran.append(phase))
    job = train.Job(tmp_path / "out", tmp_path / "work", 0, "cpu", dict(train.SAMPLES))
    train.train(job, until="teacher")
    assert ran == ["render", "teacher"]
    train.train(job, until="student_clip")
    assert ran == ["render", "teacher", "student_clip"]
    train.train(job, until="teacher", redo=("teacher",))
    assert ran[3:] == ["teacher"]
    train.train(
        train.Job(job.out, job.work, 1, "cpu", job.samples), until="render"
    )  # another seed is another run
    assert ran[4:] == ["render"]
    lines = [json.loads(line) for line in (job.out / "train_log.jsonl").read_text().splitlines()]
    assert all(line["environment"]["torch"] == torch.__version__ for line in lines)


@pytest.mark.slow
def test_the_whole_command_at_a_tiny_scale_ends_at_the_gates(tmp_path: Path) -> None:
    arguments = [
        "--out",
        str(tmp_path / "out"),
        "--work",
        str(tmp_path / "work"),
        "--scale",
        "0.001",
    ]
    with pytest.raises(TrainingError, match="gates"):
        train.main(arguments)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["teacher"]["zero_shot_names"] < 0.5
