"""What a person is told before training, and the file that has all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from image_folders import fill, grainy, image_folder, saved

from compress.data.artifact import DataArtifact
from compress.data.stage import run
from compress.data.summary import DataSummary
from compress.engine.config import resolve
from compress.engine.progress import SilentProgress
from compress.engine.stage import StageContext


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def make(tmp_path: Path, **data: object) -> tuple[DataSummary, list[str]]:
    (tmp_path / "out").mkdir()
    settings = resolve({"image": {"size": 16, "crop_pct": 0.8}, "data": data})
    heard = Heard()
    run(StageContext(settings, {}, tmp_path / "out", 0, progress=heard))
    summary = DataArtifact(tmp_path / "out").summary
    assert summary is not None
    return summary, heard.lines


def test_counts_and_everything_that_was_noticed(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", classes=("01_rose", "02_oak"), train=5)
    fill(images / "train" / "01_rose", 9, seed=5000)
    (images / "train" / "01_rose" / "cut.jpg").write_bytes(saved(grainy(1))[:-2])
    (images / "train" / "01_rose" / "note.txt").write_text("a rose", encoding="utf-8")
    (images / "test" / "01_rose" / "bad.jpg").write_text("no image", encoding="utf-8")
    fill(images / "test" / "tulip", 2, seed=7000)
    fill(images / "val" / "01_rose", 3, seed=8000)
    (images / "train" / "03_pine").mkdir()
    summary, heard = make(tmp_path, dataset=None, path=images, shots="all")
    rose, oak, pine = sorted(summary.classes, key=lambda row: (row.name[:2] != "01", row.name))
    assert (rose.name, rose.prompt) == ("01_rose", "rose")
    assert dict(rose.found) == {"train": 10, "test": 4, "val": 3}
    assert dict(rose.used) == {"shots": 10, "test": 3} and dict(oak.used) == {"shots": 5, "test": 3}
    assert dict(pine.found) == {"train": 0, "test": 0, "val": 0}
    assert [row.key for row in summary.skipped] == ["test/01_rose/bad.jpg"]
    assert [row.key for row in summary.repaired] == ["train/01_rose/cut.jpg"]
    assert summary.left_out == ("train/01_rose/note.txt",) and summary.unknown == {"tulip": 2}
    assert summary.empty == {"03_pine": "an empty folder"} and summary.measured == "test"
    counts = "3 classes, 15 shots in all, 6 test (15 in train, 7 in test, 3 in val)"
    assert heard[-4] == f"images: {counts}"
    assert heard[-3] == "images per class in train: 0 (03_pine) to 10 (01_rose)"
    assert heard[-2].startswith("6 test images are too few to measure accuracy")
    told = "1 skipped, 1 repaired, 1 files left out; the run's data/summary.json names them"
    assert heard[-1] == told


def test_images_that_no_shot_needs_are_looked_at_too(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", train=20)
    for number in range(5):
        (images / "train" / "rose" / f"x{number}.jpg").write_bytes(saved(grainy(number))[:-30])
        (images / "train" / "rose" / f"y{number}.jpg").write_text("no image", encoding="utf-8")
    summary, _ = make(tmp_path, dataset=None, path=images, shots=1)
    assert {row.key for row in summary.repaired} == {f"train/rose/x{i}.jpg" for i in range(5)}
    assert {row.key for row in summary.skipped} == {f"train/rose/y{i}.jpg" for i in range(5)}
    assert all("not an image" in row.reason for row in summary.skipped)


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    summary, _ = make(tmp_path, dataset=None, path=image_folder(tmp_path / "images"), shots=2)
    assert DataSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_names_alone_and_petals_have_one_too(tmp_path: Path) -> None:
    summary, heard = make(tmp_path, dataset=None, classes=["rose", "oak"], shots=0)
    assert summary.measured == "nothing" and heard[-1] == "class names: 2 classes, no images"
    (tmp_path / "petals").mkdir()
    summary, heard = make(tmp_path / "petals", dataset="petals", shots=1, test_limit=32)
    assert heard[-1].startswith("petals: 32 classes, 32 shots in all, 32 test (")
    assert summary.copies == () and sum(row.used["shots"] for row in summary.classes) == 32


def test_a_part_that_is_held_out_is_told_beside_the_whole(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", train=10)
    shutil.rmtree(images / "test")
    summary, heard = make(tmp_path, dataset=None, path=images, shots=2)
    assert summary.measured == "held out"
    found = "2 classes, 4 shots in all, 4 test (20 in train, 4 of them held out for testing)"
    assert heard[-2] == f"images: {found}"


def test_an_older_folder_has_none(tmp_path: Path) -> None:
    assert DataArtifact(tmp_path).summary is None


def test_equal_images_are_listed_once_and_a_group_that_holds_more_too(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", train=8)
    rose = images / "train" / "rose"
    for number in range(8):
        file = rose / f"{number:03d}.jpg"
        file.write_bytes(saved(grainy(number), quality=95))
        (rose / f"copy{number}.jpg").write_bytes(file.read_bytes())
    (rose / "again.jpg").write_bytes(saved(grainy(0), quality=60))
    summary, _ = make(tmp_path, dataset=None, path=images, shots="all")
    kinds = [group.kind for group in summary.copies]
    assert kinds.count("equal") == 8 and kinds.count("near") == 1
    (near,) = [group for group in summary.copies if group.kind == "near"]
    assert {Path(image.key).name for image in near.images} == {"000.jpg", "copy0.jpg", "again.jpg"}


def test_classes_that_the_limit_leaves_out_are_called_so(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", train=10)
    shutil.rmtree(images / "test")
    summary, _ = make(tmp_path, dataset=None, path=images, shots=2, test_limit=1)
    (note,) = (note for note in summary.notes if "accuracy" in note)
    assert note.startswith("data.test_limit=1 draws no image, so there is no accuracy, of: ")
