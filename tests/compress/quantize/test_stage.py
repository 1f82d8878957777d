"""The quantize stage on small finished inputs: what it writes, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import images, stage_context

from compress.distill.artifact import DistillArtifact
from compress.distill.batches import Batches
from compress.engine.errors import TrainingError
from compress.engine.stage import StageContext
from compress.quantize import stage
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.graph import load_prepared
from compress.quantize.scales import fake_quantizers


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantize")


@pytest.fixture(scope="module")
def trained(root: Path) -> tuple[StageContext, dict[str, Any]]:
    ctx = stage_context(root, "trained")
    return ctx, stage.run(ctx)


@pytest.fixture(scope="module")
def calibrated(root: Path) -> tuple[StageContext, dict[str, Any]]:
    ctx = stage_context(root, "calibrated", quantize={"mode": "ptq", "rounding": "nearest"})
    return ctx, stage.run(ctx)


def test_qat_writes_what_export_needs(trained: tuple[StageContext, dict[str, Any]]) -> None:
    ctx, facts = trained
    assert (
        facts["mode"] == "qat"
        and facts["steps"] == 6
        and set(facts["loss"]) == {"fp32", "calibrated", "qat"}
    )
    stored = json.loads((ctx.folder / "quantize.json").read_text())
    assert len(stored["calibration"]) == 48 and {row[0] for row in stored["calibration"]} == {
        "real",
        "synthetic",
    }
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    prepared = load_prepared(student, QuantizeArtifact(ctx.folder))
    with torch.no_grad():
        assert prepared(images(4)).shape == (4, 5)
    assert not any(
        int(module.observer_enabled[0]) for module in fake_quantizers(prepared)
    )  # nothing moves after this


def test_ptq_only_calibrates(calibrated: tuple[StageContext, dict[str, Any]]) -> None:
    _, facts = calibrated
    assert facts["kept"] == "calibrated" and facts["steps"] == 0 and "qat" not in facts["loss"]


def test_the_better_of_two_roundings_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kept, loss in {"reconstructed": 0.4, "calibrated": 0.6}.items():
        answers = iter([1.0, loss, 0.5])  # of fp32, reconstructed, calibrated
        monkeypatch.setattr(stage, "mean_loss", lambda *_, answers=answers: next(answers))
        ctx = stage_context(root, kept, quantize={"mode": "ptq"})
        facts = stage.run(ctx)
        assert facts["kept"] == kept and facts["loss"]["reconstructed"] == loss
        fitted, state = QuantizeArtifact(ctx.folder).fitted(), QuantizeArtifact(ctx.folder).state()
        assert bool(fitted) == (kept == "reconstructed")
        same = [torch.equal(fitted[name], state[f"graph.{name}"]) for name in fitted]
        assert not fitted or not all(same), "they are not rounded"


def test_training_that_hurts_is_noted_and_not_kept(
    root: Path, calibrated: tuple[StageContext, dict[str, Any]]
) -> None:
    ctx = stage_context(root, "hurt", quantize={"lr": 3.0})
    facts = stage.run(ctx)
    assert facts["kept"] == "calibrated" and facts["loss"]["qat"] > facts["loss"]["calibrated"]
    kept, before = (
        load_file(folder / "prepared.safetensors") for folder in (ctx.folder, calibrated[0].folder)
    )
    assert all(torch.equal(kept[name], before[name]) for name in before)


def test_killed_and_resumed_gives_the_same_bytes(
    root: Path, trained: tuple[StageContext, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed, at = trained[0], stage_context(root, "killed"), Batches.at

    def broken(self: Batches, step: int) -> object:
        if step == 5:
            raise KeyboardInterrupt
        return at(self, step)

    monkeypatch.setattr(Batches, "at", broken)
    with pytest.raises(KeyboardInterrupt):
        stage.run(killed)
    assert (killed.folder / "partial" / "checkpoint.safetensors").exists()
    monkeypatch.setattr(Batches, "at", at)
    stage.run(killed)
    for name in ("prepared.safetensors", "quantize.json", "history.json"):
        same = (whole.folder / name).read_bytes() == (killed.folder / name).read_bytes()
        assert same, name


def test_a_loss_that_is_not_finite_stops(root: Path) -> None:
    ctx = stage_context(root, "nan", quantize={"lr": 1e6})
    with pytest.raises(TrainingError):
        stage.run(ctx)
