"""The part of report.json about the images, from a data stage that ran and features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_folders import fill, image_folder
from report_parts import report_with

from compress.data.artifact import DataArtifact
from compress.data.stage import run
from compress.engine.config import resolve
from compress.engine.stage import StageContext
from compress.evaluate.embedding import MOST_IMAGES
from compress.label.artifact import LabelArtifact, PoolTargets
from compress.report import images
from compress.report.images import images_part
from compress.teacher.artifact import Seen, TeacherArtifact

CLASSES = ("iris", "rose", "water_lily")


@pytest.fixture
def data(tmp_path: Path) -> DataArtifact:
    root = image_folder(tmp_path / "garden", CLASSES, train=6)
    fill(root / "train" / "rose", 1, seed=9000)  # over the first
    (root / "train" / "rose" / "copy.jpg").write_bytes(
        (root / "train" / "iris" / "002.jpg").read_bytes()
    )
    (root / "train" / "rose" / "bad.jpg").write_text("x", encoding="utf-8")
    folder = tmp_path / "data"
    folder.mkdir()
    settings = resolve(
        {
            "image": {"size": 16, "crop_pct": 0.8},
            "data": {"dataset": None, "path": root, "shots": "all"},
        }
    )
    run(StageContext(settings, {}, folder, 0))
    return DataArtifact(folder)


def labeled(data: DataArtifact, folder: Path, wrong: int | None = None) -> LabelArtifact:
    """Features around a direction of each class; ``wrong`` has those of the next class."""
    rng = np.random.default_rng(0)
    labels = data.shots.labels.copy()
    if wrong is not None:
        labels[wrong] = (labels[wrong] + 1) % len(CLASSES)
    rows = np.eye(8)[labels][:, None] + 0.1 * rng.normal(size=(len(labels), 2, 8))
    targets = PoolTargets(rows.astype(np.float16), np.zeros((len(labels), 2, 3), np.float32))
    folder.mkdir()
    LabelArtifact(folder).write({"real": targets}, np.zeros(0, bool), {}, {})
    return LabelArtifact(folder)


def test_the_summary_and_the_wrong_label_are_there(data: DataArtifact, tmp_path: Path) -> None:
    wrong = 4
    part = images_part(data, labeled(data, tmp_path / "label", wrong))
    assert part is not None
    seen = report_with(images=part).images
    assert seen is not None and seen.summary == data.summary
    assert seen.totals["skipped"] == 1 and seen.totals["copies"] >= 1
    assert seen.judged == len(data.shots)
    assert [point.key for point in seen.map] == list(data.shots.keys)
    assert [point.label for point in seen.map] == data.shots.labels.tolist()
    first = seen.relabel[0]
    own = data.shots.labels[wrong]
    assert first.key == data.shots.keys[wrong]
    assert (first.label, first.nearest) == (CLASSES[own], CLASSES[(own + 1) % 3])
    assert [far.key for far in seen.outliers] == [first.key]


def test_a_teacher_that_labels_nothing_saw_the_shots_all_the_same(
    data: DataArtifact, tmp_path: Path
) -> None:
    """Its head was fitted on them, here on all but two."""
    label = labeled(data, tmp_path / "label", wrong=4)
    targets = label.targets("real")
    assert targets is not None
    rows = np.arange(len(data.shots) - 2)
    teacher = TeacherArtifact(tmp_path)
    teacher.write_seen(Seen(rows, targets.features.mean(axis=1)[rows].astype(np.float32)))
    part = images_part(data, LabelArtifact(tmp_path), teacher)
    assert part is not None
    assert [point["key"] for point in part["map"]] == [data.shots.keys[row] for row in rows]
    assert part["relabel"][0]["key"] == data.shots.keys[4]


def test_right_labels_are_in_no_doubt(data: DataArtifact, tmp_path: Path) -> None:
    part = images_part(data, labeled(data, tmp_path / "label"))
    assert part is not None and part["relabel"] == [] and len(part["map"]) == len(data.shots)


def test_without_features_the_summary_stands_alone(data: DataArtifact, tmp_path: Path) -> None:
    part = images_part(data, LabelArtifact(tmp_path))
    assert part is not None and set(part) == {"summary", "totals"}
    assert images_part(data, None) == part
    (data.folder / "summary.json").unlink()
    assert images_part(DataArtifact(data.folder), None) is None


def test_long_lists_are_cut_and_counted(
    data: DataArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = images_part(data, None)
    monkeypatch.setattr(images, "LISTED", 0)
    monkeypatch.setattr(images, "MOST_IMAGES", 5)
    cut = images_part(data, labeled(data, tmp_path / "label", 4))
    assert whole is not None and cut is not None and cut["totals"] == whole["totals"]
    assert cut["summary"]["skipped"] == () and len(cut["summary"]["classes"]) == 3
    assert len(cut["map"]) == 5 < MOST_IMAGES and cut["relabel"] == []
