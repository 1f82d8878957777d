"""What a finished stage reached here, and which stages compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from compress.api import settings_for
from compress.cost.calibration import measured_rate
from compress.engine.config import Settings, resolve
from compress.engine.store import CHECK, MANIFEST, Artifact, Store, canonical, sha256_text

SMOKE = settings_for("petals", shots=1, preset="smoke")


def changed(**sections: Any) -> Settings:
    return resolve(SMOKE.plain(), sections)


def test_another_generator_teacher_or_student_measures_nothing(smoke_work: Path) -> None:
    store = Store(smoke_work / "store")
    others = {
        "generate": changed(generate={"generator": "kandinsky-2.2"}),
        "label": changed(teacher={"name": "ViT-B-32/openai"}),
        "distill": changed(distill={"student": "petal_cnn_w8", "init": "random"}),
    }
    for stage, settings in others.items():
        assert measured_rate(store, settings, stage) is None
    assert measured_rate(store, SMOKE, "export") is None


def rewritten(artifact: Artifact, **values: Any) -> None:
    """Changes stage.json as its writer would have written it."""
    file = artifact.path / MANIFEST
    manifest = {**json.loads(file.read_text(encoding="utf-8")), **values}
    manifest.pop(CHECK)
    manifest[CHECK] = sha256_text(canonical(manifest))
    file.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_resumed_stage_measures_nothing_and_the_newest_one_counts(
    smoke_work: Path, tmp_path: Path
) -> None:
    shutil.copytree(smoke_work / "store", tmp_path / "store")
    store = Store(tmp_path / "store")
    (artifact,) = store.stages("label")
    before = measured_rate(store, SMOKE, "label")
    rewritten(artifact, seconds=2 * artifact.seconds)
    after = measured_rate(store, SMOKE, "label")
    assert before and after and after.rate == pytest.approx(before.rate / 2)
    rewritten(artifact, resumed=True)
    assert measured_rate(store, SMOKE, "label") is None
