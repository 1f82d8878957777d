"""The one command that makes the weights."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.petals_training import train
from benchmarks.petals_training.train_clip import (
    batches,
    contrastive_loss,
    mirrored,
    optimize,
    shifted,
    turned,
)
from compress.engine.errors import TrainingError
from compress.petals.rendering import draw_flowers, load_flowers
from compress.petals.runs import Run
from compress.petals.world import training_flowers


def test_help_names_every_phase_and_imports_no_torch() -> None:
    code = (
        "import sys; from benchmarks.petals_training import train; assert 'torch' not in "
        "sys.modules; train.main(['--help'])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert all(phase in out for phase in train.PHASES)
    assert tuple(train.PHASES) == tuple(train.SAMPLES)


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


def test_flowers_on_disk_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    draw_flowers(5, 0, tmp_path, workers=1)
    kept, drawn = load_flowers(tmp_path), training_flowers(0, 5)
    assert np.array_equal(kept.images, drawn.images) and np.array_equal(
        kept.attributes, drawn.attributes
    )


def test_an_epoch_shows_every_row_once() -> None:
    rows = np.concatenate(list(batches(12, 4, 3, np.random.default_rng(0))))
    assert sorted(rows) == list(range(12))


def test_augmentation_moves_pixels_and_makes_none() -> None:
    image = torch.arange(3 * 64).float().view(1, 3, 8, 8)
    torch.manual_seed(0)
    seen = {tuple(turned(image).flatten().tolist()) for _ in range(80)}
    assert len(seen) == 8 and all(sorted(one) == sorted(image.flatten().tolist()) for one in seen)
    sides = {tuple(mirrored(image).flatten().tolist()) for _ in range(20)}
    assert sides == {tuple(image.flatten().tolist()), tuple(image.flip(3).flatten().tolist())}
    assert set(shifted(image).flatten().tolist()) <= set(image.flatten().tolist())


def test_contrastive_loss_against_the_formula() -> None:
    unit = torch.eye(3)
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert contrastive_loss(unit, unit, torch.tensor(math.log(2.0))).item() == pytest.approx(
        expected
    )


def test_with_labels_all_pairs_of_one_label_match() -> None:
    unit, scale = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor(math.log(3.0))
    distinct = contrastive_loss(unit, unit, scale, torch.tensor([5, 6, 7]))
    assert distinct.item() == pytest.approx(contrastive_loss(unit, unit, scale).item())
    total = 2 * math.exp(3) + 1  # of the softmax in the first two rows
    expected = (2 * -math.log(math.exp(3) / total) - math.log(math.exp(3) / (math.exp(3) + 2))) / 3
    assert contrastive_loss(unit, unit, scale, torch.tensor([4, 4, 9])).item() == pytest.approx(
        expected
    )


def test_a_loss_that_is_not_finite_stops_the_phase(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    run = Run("broken", 0, "cpu", tmp_path / "log.jsonl")
    with pytest.raises(TrainingError, match="broken"):
        optimize(
            run,
            [weight],
            lambda rows: (weight.sum() * float("nan"), {}),
            rows=8,
            batch=4,
            samples=8,
            lr=1e-3,
            weight_decay=0.0,
        )


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
