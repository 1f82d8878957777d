"""Estimates of a plan: which stages, what time, what is measured here, unknown numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress import api
from compress.api import settings_for
from compress.cost.amounts import UNKNOWN_CLASSES
from compress.cost.calibration import measured_rate
from compress.cost.estimate import BEHIND, StageEstimate, estimates
from compress.cost.lines import lines
from compress.engine.config import Settings, resolve
from compress.engine.plan import Step
from compress.engine.store import Store
from compress.stages import STAGES

SMOKE = settings_for("petals", shots=1, preset="smoke")
ESTIMATED = ["data", "teacher", "generate", "label", "distill", "quantize"]


def changed(**sections: Any) -> Settings:
    return resolve(SMOKE.plain(), sections)


def every(settings: Settings, folder: Path) -> list[StageEstimate]:
    """All stages, of a store that holds none."""
    steps = [Step(stage.name, "make", None) for stage in STAGES]
    return estimates(settings, steps, Store(folder / "store"))


def test_a_fresh_folder_has_a_row_for_every_stage_with_a_network(tmp_path: Path) -> None:
    rows = api.estimate(SMOKE, work_dir=tmp_path)
    assert [row.stage for row in rows] == ESTIMATED
    assert all(row.flops and row.times for row in rows[1:]) and not rows[0].times
    assert not any(tmp_path.iterdir()), "an estimate makes nothing"
    shorter = api.estimate(SMOKE, work_dir=tmp_path, until="generate")
    assert [row.stage for row in shorter] == ESTIMATED[:3]


def test_finished_stages_are_left_out(smoke_work: Path) -> None:
    assert api.estimate(SMOKE, work_dir=smoke_work) == []
    rows = api.estimate(changed(distill={"steps": 24}), work_dir=smoke_work)
    assert [row.stage for row in rows] == ["distill", "quantize"]
    assert rows[0].amount == 24


def test_hours_are_flops_over_the_assumed_share_of_a_peak(tmp_path: Path) -> None:
    settings = changed(teacher={"precision": "bf16"})
    label = every(settings, tmp_path)[3]
    h100 = next(time for time in label.times if time.device == "h100")
    assert h100.arithmetic == "bf16" and h100.peak == 989e12 and h100.measured_s is None
    assert h100.seconds == pytest.approx((label.flops or 0) / (0.4 * 989e12))
    host = label.times[-1]
    assert host.device == "host" and host.arithmetic == "fp32"


def test_what_runs_on_the_cores_alone_has_no_time_on_a_gpu(tmp_path: Path) -> None:
    quantize = every(SMOKE, tmp_path)[-1]
    assert [time.device for time in quantize.times] == ["host"]


def test_this_machine_is_what_a_finished_stage_reached(smoke_work: Path) -> None:
    store = Store(smoke_work / "store")
    finished = {artifact.stage: artifact for artifact in store.stages()}
    whole = {row.stage: row for row in every(SMOKE, smoke_work.parent / "none")}
    for stage in ESTIMATED[1:]:
        measured = measured_rate(store, changed(distill={"steps": 24}), stage)
        assert measured is not None, stage
        assert measured.rate == pytest.approx((whole[stage].flops or 0) / finished[stage].seconds)
    (row, *_) = api.estimate(changed(distill={"steps": 24}), work_dir=smoke_work)
    host = row.times[-1]
    assert host.measured_s == finished["distill"].seconds and host.peak is None
    assert host.seconds == pytest.approx(2 * finished["distill"].seconds)
    assert all(time.measured_s is None for time in row.times[:-1])


def test_a_number_that_is_not_known_is_said_and_the_figures_are_of_one_class(
    tmp_path: Path,
) -> None:
    lost = changed(data={"dataset": None, "path": str(tmp_path / "nowhere"), "shots": 2})
    rows = every(lost, tmp_path)
    assert all(row.per_class for row in rows)
    assert all(UNKNOWN_CLASSES in row.notes for row in rows[1:])
    text = "\n".join(lines(rows))
    assert "4 images for each class" in text and UNKNOWN_CLASSES in text


def test_an_unknown_network_is_said_and_nothing_is_divided(tmp_path: Path) -> None:
    rows = every(changed(teacher={"name": "hf-hub:some/repository"}), tmp_path)
    label = rows[3]
    assert label.flops is None and not label.times and label.amount
    text = "\n".join(lines(rows))
    assert "FLOPs unknown" in text and "more than" in text


def test_a_part_that_is_made_is_said(tmp_path: Path) -> None:
    steps = [Step("label", "resume", None)]
    (row,) = estimates(SMOKE, steps, Store(tmp_path / "store"))
    assert BEHIND in row.notes
