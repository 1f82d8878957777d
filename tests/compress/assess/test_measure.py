"""A real bundle on folders of every layout: figures, and what took no part."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_folders import encoded, fill, grainy, saved
from PIL import Image

from compress import api
from compress.assess.result import Evaluation
from compress.assess.sentences import headline, remarks
from compress.engine.errors import DataError
from compress.evaluate.metrics import ece, reliability, wilson
from runtime import Classifier

CLASSES = ("rose", "iris", "daisy", "tulip")


def garden(root: Path, classes: tuple[str, ...] = CLASSES, count: int = 5) -> Path:
    for number, name in enumerate(classes):
        fill(root / name, count, seed=100 * number)
    return root


def test_the_figures_are_those_of_the_bundle_itself(bundle: Path, tmp_path: Path) -> None:
    images = garden(tmp_path / "garden")
    result = api.evaluate(bundle, images)
    classifier = Classifier.load(bundle)
    files = sorted(images.rglob("*.jpg"), key=lambda path: CLASSES.index(path.parent.name))
    truth = np.repeat(np.arange(4), 5)
    logits = classifier.logits(files)
    said = logits.argmax(axis=1)
    correct = int((said == truth).sum())
    assert (result.n, result.correct, result.precision) == (20, correct, "int8")
    assert result.top1 == correct / 20 and result.ci95 == wilson(correct, 20)
    assert result.ece == pytest.approx(ece(reliability(logits, truth)), abs=1e-6)
    wrong = {path.relative_to(images).as_posix() for path in np.array(files)[said != truth]}
    assert {row.path for row in result.mistakes} == wrong and 0 < len(wrong) < 20
    sure = [row.confidence for row in result.mistakes]
    assert sure == sorted(sure, reverse=True)
    for row in result.mistakes:
        first = classifier.predict(images / row.path)[0]
        assert (first.label, row.true) == (row.predicted, Path(row.path).parent.name)
        assert row.confidence == pytest.approx(first.probability, abs=1e-3)
    assert sum(count for *_, count in result.confusion) == 20
    rows = {row.label: row for row in result.per_class}
    for number, name in enumerate(CLASSES):
        hits = int(((said == number) & (truth == number)).sum())
        answers = int((said == number).sum())
        assert rows[name].recall == hits / 5
        assert rows[name].precision == (hits / answers if answers else None)
        assert rows[name].f1 == 2 * hits / (5 + answers)
    plain = json.loads(result.to_text())
    assert plain["kind"] == "clip2edge-evaluation" and plain["top1"] == result.top1


def test_classes_without_a_label_and_labels_without_images_are_told(
    bundle: Path, tmp_path: Path
) -> None:
    images = garden(tmp_path / "garden", ("Rose", "TULIP", "oak"))
    tested = api.evaluate(bundle, images).tested
    assert tested.unknown == {"oak": 5} and tested.without_images == ("iris", "daisy")
    assert {match.name: match.label for match in tested.matched} == {
        "Rose": "rose",
        "TULIP": "tulip",
    }


def test_no_label_at_all_is_an_error_with_both_sides(bundle: Path, tmp_path: Path) -> None:
    images = garden(tmp_path / "zoo", ("ant", "bee"))
    with pytest.raises(DataError, match="got ant, bee · expected rose, iris, daisy, tulip"):
        api.evaluate(bundle, images)


def test_a_class_list_in_the_folder_maps_names_to_labels(bundle: Path, tmp_path: Path) -> None:
    images = garden(tmp_path / "garten", ("Rosen", "Tulpen"))
    (images / "classes.yaml").write_text("Rosen: rose\nTulpen: tulip\n", encoding="utf-8")
    assert api.evaluate(bundle, images).n == 10


def test_images_that_a_device_cannot_read_are_listed_and_not_counted(
    bundle: Path, tmp_path: Path
) -> None:
    images = garden(tmp_path / "garden")
    (images / "rose" / "text.jpg").write_text("no image", encoding="utf-8")
    (images / "iris" / "empty.png").touch()
    (images / "daisy" / "cut.jpg").write_bytes(saved(grainy(1))[:-2])
    result = api.evaluate(bundle, images)
    reasons = {row.key: row.reason for row in result.tested.unreadable}
    assert set(reasons) == {"rose/text.jpg", "iris/empty.png", "daisy/cut.jpg"}
    assert "truncated" in reasons["daisy/cut.jpg"]
    assert "it is empty" in reasons["iris/empty.png"]
    assert result.n == 20
    assert "; 3 more images cannot be read. 20 test images are too few" in headline(result)


def test_a_folder_of_mostly_damaged_images_is_an_error(bundle: Path, tmp_path: Path) -> None:
    images = garden(tmp_path / "garden", ("rose", "iris"), count=4)
    for file in sorted(images.rglob("*.jpg"))[:5]:
        file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match=r"most images of .* got 3 readable of 8, e.g. iris/000"):
        api.evaluate(bundle, images)
    shutil.copy(images / "rose" / "003.jpg", images / "rose" / "004.jpg")
    shutil.copy(images / "rose" / "002.jpg", images / "rose" / "005.jpg")
    assert api.evaluate(bundle, images).n == 5


def test_a_folder_of_nothing_readable_is_an_error(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "rose").mkdir()
    (tmp_path / "rose" / "a.jpg").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="no image of .* can be read · got rose/a.jpg"):
        api.evaluate(bundle, tmp_path)


def test_a_single_class_is_enough(bundle: Path, tmp_path: Path) -> None:
    result = api.evaluate(bundle, garden(tmp_path / "one", ("iris",)))
    assert result.n == 5 and len(result.tested.without_images) == 3


def splits(root: Path) -> Path:
    for name in ("train", "test", "val"):
        garden(root / name, count={"train": 4, "test": 2, "val": 3}[name])
    return root


def in_a_zip(root: Path) -> Path:
    garden(root / "inner")
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for path in sorted(root.rglob("*.jpg")):
            archive.write(path, path.relative_to(root))
    shutil.rmtree(root)
    return root.with_suffix(".zip")


def with_table(root: Path) -> Path:
    root.mkdir()
    for number in range(len(CLASSES)):
        (root / f"{number}.jpg").write_bytes(encoded(number))
    rows = [f"{number}.jpg,{name}" for number, name in enumerate(CLASSES)]
    text = "\n".join(["file_name,label", *rows, "gone.jpg,rose"])
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return root


def nested(root: Path) -> Path:
    garden(root / "plants", CLASSES[:2])
    garden(root / "others", CLASSES[2:])
    return root


def dated(root: Path) -> Path:
    for name in CLASSES:
        fill(root / name / "2024-05-01", 2)
        fill(root / name / "2024-06-01", 3, seed=50)
    return root


@pytest.mark.parametrize("around", ["", "photos"])
def test_a_single_class_may_lie_in_parts(bundle: Path, tmp_path: Path, around: str) -> None:
    for number, part in enumerate(("2024-05", "2024-06")):
        fill(tmp_path / "single" / around / "rose" / part, 3, seed=50 * number)
    result = api.evaluate(bundle, tmp_path / "single")
    assert result.n == 6 and [match.label for match in result.tested.matched] == ["rose"]


def test_inner_folders_that_give_no_classes_are_no_matter(bundle: Path, tmp_path: Path) -> None:
    fill(tmp_path / "garden" / "rose" / "Part 1", 2)
    fill(tmp_path / "garden" / "oak" / "part 1", 2, seed=50)
    fill(tmp_path / "garden" / "oak" / "PART 1", 2, seed=90)
    assert api.evaluate(bundle, tmp_path / "garden").tested.unknown == {"oak": 4}


@pytest.mark.parametrize(
    ("make", "n", "split"),
    [
        (splits, 8, "test"),
        (in_a_zip, 20, ""),
        (with_table, 4, ""),
        (nested, 20, ""),
        (dated, 20, ""),
    ],
)
def test_every_layout_that_a_build_reads(
    bundle: Path, tmp_path: Path, make: object, n: int, split: str
) -> None:
    result = api.evaluate(bundle, make(tmp_path / "images"))  # type: ignore[operator]
    assert (result.n, result.tested.split) == (n, split)
    assert len(result.tested.matched) == 4
    missing = [row.key for row in result.tested.unreadable]
    assert missing == (["gone.jpg"] if make is with_table else [])


def test_another_split_can_be_asked_for(bundle: Path, tmp_path: Path) -> None:
    images = splits(tmp_path / "images")
    result = api.evaluate(bundle, images, split="val")
    assert (result.n, result.tested.split) == (12, "val")
    assert result.tested.others == {"train": 16, "test": 8}
    with pytest.raises(DataError, match="no such split · got 'vaal' · did you mean 'val'"):
        api.evaluate(bundle, images, split="vaal")


def test_other_forms_of_a_bundle_give_the_same(bundle: Path, tmp_path: Path) -> None:
    images = garden(tmp_path / "garden")
    zipped = shutil.make_archive(str(tmp_path / "b"), "zip", bundle)

    def figures(result: Evaluation) -> tuple[object, ...]:
        return result.precision, result.confusion, result.mistakes

    assert figures(api.evaluate(zipped, images)) == figures(api.evaluate(bundle, images))
    file = bundle / "model.fp32.onnx"
    whole = api.evaluate(bundle, images, precision="fp32", threads=1)
    assert figures(api.evaluate(file, images)) == figures(whole) and whole.precision == "fp32"


def test_equal_images_are_told_with_their_labels(bundle: Path, tmp_path: Path) -> None:
    images = garden(tmp_path / "garden", ("rose", "iris"))
    for number in range(3):
        shutil.copy(images / "rose" / f"00{number}.jpg", images / "iris" / f"x{number}.jpg")
    (images / "rose" / "again.png").write_bytes(
        saved(Image.open(images / "rose" / "004.jpg"), "PNG")
    )
    result = api.evaluate(bundle, images)
    assert [len(group.images) for group in result.tested.equal] == [2, 2, 2, 2]
    assert [group.in_two_classes for group in result.tested.equal].count(True) == 3
    told = [text for text in remarks(result) if text.startswith("the same image")]
    assert "stands in two classes, so that one of its labels is wrong (3 found)" in told[0]
    assert "rose/000.jpg = iris/x0.jpg" in told[0] or "iris/x0.jpg = rose/000.jpg" in told[0]
    assert "stands more than once (1 found)" in told[1]
    assert json.loads(result.to_text())["tested"]["equal"][0]["kind"] == "equal"
