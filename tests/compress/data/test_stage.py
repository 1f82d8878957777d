"""Stage "data": its files, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from image_folders import encoded, fill, grainy, image_folder, photo, saved
from PIL import Image

from compress.data.artifact import DataArtifact
from compress.data.geometry import eval_geometry, shot_geometry
from compress.data.stage import fingerprint, run
from compress.data.testsets import TestSets
from compress.engine.config import Settings, resolve
from compress.engine.errors import DataError
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from runtime.preprocess import Geometry, decode, geometry


def settings(path, seed=0, size=16, crop_pct=0.8, **data) -> Settings:
    data = {"dataset": None, "path": path, "shots": 2, **data}
    return resolve({"seed": seed, "image": {"size": size, "crop_pct": crop_pct}, "data": data})


def make(tmp_path, chosen: Settings, name="out"):
    folder = tmp_path / name
    folder.mkdir()
    facts = run(StageContext(chosen, {}, folder, chosen.seed))
    return DataArtifact(folder), facts


def test_the_stage_leaves_these_files_and_facts(tmp_path):
    images = image_folder(tmp_path / "images")
    data, facts = make(tmp_path, settings(images, category="flower"))
    shots, test = data.shots, data.images("test")
    assert (shots.pixels.shape, shots.pixels.dtype) == ((4, 20, 20, 3), np.uint8)
    assert (test.pixels.shape, test.pixels.dtype) == ((6, 16, 16, 3), np.uint8)
    assert json.loads((data.folder / "classes.json").read_text()) == [
        {"name": "rose", "prompt": "rose", "category": "flower"},
        {"name": "water_lily", "prompt": "water lily", "category": "flower"},
    ]
    assert shots.labels.tolist() == [0, 0, 1, 1]
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert json.loads((data.folder / "test.json").read_text())[0] == {
        "key": "test/rose/000.jpg",
        "label": 0,
    }
    wanted = {
        "name": "images",
        "classes": 2,
        "shots": 2,
        "train_images": 4,
        "test_images": 6,
        "skipped": 0,
        "image_size": 16,
        "cache_size": 20,
    }
    assert wanted.items() <= facts.items()
    assert sorted(os.listdir(data.folder)) == sorted(
        ["classes.json", "shots.json", "shots.npy", "skipped.json", "summary.json", "test.json"]
        + ["test.npy"]
    )


def test_pixels_are_the_runtimes_own(tmp_path):
    images = image_folder(tmp_path / "images")
    chosen = settings(images)
    data, _ = make(tmp_path, chosen)
    for name, spec in (
        ("shots", shot_geometry(chosen.image)),
        ("test", eval_geometry(chosen.image)),
    ):
        stored = data.images(name)
        for pixels, key in zip(stored.pixels, stored.keys, strict=True):
            assert np.array_equal(pixels, geometry(decode(images / key), spec))


def test_shots_are_nested_repeat_and_never_meet_the_test(tmp_path):
    images = image_folder(tmp_path / "images", train=8)
    drawn = {}
    for shots in (1, 4):
        data, _ = make(tmp_path, settings(images, shots=shots), f"out{shots}")
        drawn[shots] = set(data.shots.keys)
        assert not drawn[shots] & set(data.images("test").keys)
    assert drawn[1] < drawn[4]
    again, _ = make(tmp_path, settings(images, shots=4), "again")
    assert np.array_equal(again.shots.pixels, data.shots.pixels)
    other, _ = make(tmp_path, settings(images, shots=4, seed=1), "other")
    assert set(other.shots.keys) != drawn[4]
    tested = [drawing.images("test").pixels for drawing in (other, again)]
    assert np.array_equal(*tested), "every seed is tested on the same images"


def test_formats_modes_and_sizes_go_by_content(tmp_path):
    images = image_folder(tmp_path / "images")
    rose = images / "test" / "rose"
    (rose / "webp.jpg").write_bytes(encoded(1, "WEBP"))  # the suffix lies
    (rose / "png").write_bytes(encoded(2, "PNG"))
    photo(3).convert("CMYK").save(rose / "cmyk.jpg")
    photo(4).convert("L").save(rose / "gray.png")
    photo(5).convert("P").save(rose / "palette.gif")
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(15, 20) * 200).save(rose / "deep.png")
    photo(6, (400, 3)).save(rose / "wide.png")
    photo(7, (1, 1)).save(rose / "dot.bmp")
    turned = Image.Exif()
    turned[0x0112] = 6
    photo(8, (40, 20)).save(rose / "turned.jpg", exif=turned)
    data, facts = make(tmp_path, settings(images))
    assert facts["skipped"] == 0 and facts["test_images"] == 6 + 9
    row = data.images("test").keys.index("test/rose/turned.jpg")
    upright = photo(8, (40, 20)).transpose(Image.Transpose.ROTATE_270)
    expected = geometry(upright, eval_geometry(settings(images).image)).astype(int)
    assert np.abs(data.images("test").pixels[row] - expected).mean() < 6  # JPEG


def test_what_cannot_be_read_is_listed_with_its_reason_and_skipped(tmp_path):
    images = image_folder(tmp_path / "images", train=5, test=4)
    for part in ("train", "test"):
        rose = images / part / "rose"
        half = saved(grainy(7))
        (rose / "cut.jpg").write_bytes(half[: len(half) // 2])
        (rose / "web.jpg").write_text("<html>404 not found</html>")
        (rose / "iphone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
        photo(size=(90, 90)).save(rose / "bomb.png")
        (rose / "empty.jpg").touch()
        (rose / "gone.jpg").symlink_to(images / "nowhere.jpg")
    data, facts = make(tmp_path, settings(images, shots=5, max_pixels=8000))
    skipped = {row["key"]: row["reason"] for row in data.skipped}
    assert (
        "too large" in skipped["test/rose/bomb.png"]
        and "8,100 pixels" in skipped["test/rose/bomb.png"]
    )
    assert "not an image" in skipped["test/rose/web.jpg"]
    assert "a web page: the download failed" in skipped["test/rose/web.jpg"]
    assert "it is HEIC" in skipped["test/rose/iphone.jpg"]
    assert "it is empty" in skipped["test/rose/empty.jpg"]
    assert "truncated" in skipped["test/rose/cut.jpg"]
    assert {"test/rose/empty.jpg", "test/rose/gone.jpg"} < set(skipped)
    assert not any(
        str(tmp_path) in reason for reason in skipped.values()
    )  # the artifact does not depend on the place
    assert facts["test_images"] == 8 == len(data.images("test")) and facts["train_images"] == 10
    assert facts["skipped"] == len(skipped) and "could not be read" in facts["notes"][-1]
    assert not set(data.shots.keys) & set(skipped)


def test_too_few_readable_images_in_a_class(tmp_path):
    images = image_folder(tmp_path / "images", train=3)
    (images / "train" / "rose" / "000.jpg").write_bytes(b"no image")
    with pytest.raises(
        DataError, match="class 'rose' has too few images for 3 shots.*2 readable of 3.*--shots"
    ):
        make(tmp_path, settings(images, shots=3))


def test_class_without_a_readable_test_image(tmp_path):
    images = image_folder(tmp_path / "images", test=4)
    for file in (images / "test" / "rose").iterdir():
        file.write_bytes(b"no image")
    data, facts = make(tmp_path, settings(images))
    assert data.images("test").labels.tolist() == [1] * 4
    note = next(note for note in facts["notes"] if "no readable image" in note)
    assert "so no accuracy, among the test images of: rose; 4 of 4: " in note
    assert "is not an image" in note and "e.g. test/rose/000.jpg" in note
    assert str(tmp_path) not in note


@pytest.mark.parametrize("kind", ["no image", "cut short"])
@pytest.mark.parametrize("shots", [1, 4, "all"])
def test_a_damaged_photo_stops_no_folder_that_is_split_here(tmp_path, kind, shots):
    """Whichever photo of a class it is, its class is measured where enough others are there."""
    for number in range(5):
        images = tmp_path / f"images{number}"
        for place, name in enumerate(("ant", "bee", "cat")):
            fill(images / name, 5, seed=100 * place)
        bad = images / "bee" / f"{number:03d}.jpg"
        bad.write_bytes(b"no image" if kind == "no image" else saved(grainy(900 + number))[:-9])
        chosen = settings(images, shots=shots)
        data, facts = make(tmp_path, chosen, f"out{number}")
        test = data.images("test")
        key = f"bee/{number:03d}.jpg"
        assert key not in test.keys and not set(test.keys) & set(data.shots.keys)
        lacks = shots == 4 and kind == "no image"  # 4 others: all are shots
        assert np.bincount(test.labels, minlength=3).tolist() == [1, int(not lacks), 1]
        assert any("no accuracy" in note and "of: bee" in note for note in facts["notes"]) == lacks
        if kind == "no image":
            assert [row["key"] for row in data.skipped] == [key]
        else:
            assert data.skipped == () and facts["repaired"] == 1
        originals = sets_of(tmp_path, chosen, data, facts)
        pixels = originals.pixels(
            "test", 0, len(test), Geometry(24, 24, "bicubic"), eval_geometry(chosen.image)
        )
        assert pixels.shape == (len(test), 24, 24, 3)


def sets_of(tmp_path, chosen, data, facts):
    built = Artifact("data", data.folder, facts, "")
    return TestSets(StageContext(chosen, {"data": built}, tmp_path, 0))


def test_without_readable_photos_beside_it_a_class_is_not_measured(tmp_path):
    fill(tmp_path / "images" / "ant", 6)
    fill(tmp_path / "images" / "bee", 2, seed=100)
    for number in (0, 1):
        file = tmp_path / "images" / "bee" / f"{number:03d}.jpg"
        before = file.read_bytes()
        file.write_bytes(b"no image")
        data, facts = make(tmp_path, settings(tmp_path / "images", shots=1), f"out{number}")
        assert data.shots.labels.tolist() == [0, 1] and set(data.images("test").labels) == {0}
        assert any("no readable image" in note and "of: bee" in note for note in facts["notes"])
        file.write_bytes(before)


def test_test_images_are_not_mended(tmp_path):
    images = image_folder(tmp_path / "images", test=4)
    (images / "test" / "rose" / "000.jpg").write_bytes(saved(grainy(1))[:-2])
    data, facts = make(tmp_path, settings(images))
    (row,) = data.skipped
    assert row["key"] == "test/rose/000.jpg" and "truncated" in row["reason"]
    assert facts["test_images"] == 7 and "repaired" not in facts


def test_mostly_unreadable_test_split(tmp_path):
    images = image_folder(tmp_path / "images", test=4)
    for file in (images / "test").glob("*/00[1-3].jpg"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="most of the test images cannot be read.*2 readable of 8"):
        make(tmp_path, settings(images))


def test_limit_takes_every_class_and_is_the_same_for_every_seed(tmp_path):
    images = image_folder(tmp_path / "images", test=10)
    parts = []
    for seed in (0, 1):
        data, facts = make(tmp_path, settings(images, seed=seed, test_limit=6), f"out{seed}")
        assert facts["test_images"] == 6
        parts.append(data.images("test"))
    assert parts[0].keys == parts[1].keys and sorted(parts[0].labels) == [0, 0, 0, 1, 1, 1]


def test_zero_shots_with_a_folder(tmp_path):
    data, facts = make(tmp_path, settings(image_folder(tmp_path / "images"), shots=0))
    assert data.shots.pixels.shape == (0, 20, 20, 3)
    assert facts["train_images"] == 0 and facts["test_images"] == 6
    assert any("0 shots: no training image is used" in note for note in facts["notes"])


def test_only_class_names(tmp_path):
    chosen = resolve({"data": {"dataset": None, "classes": ["rose", "tulip"], "shots": 0}})
    data, facts = make(tmp_path, chosen)
    assert data.images("test").pixels.shape == (0, 224, 224, 3) and facts["test_images"] == 0
    assert data.shots.pixels.shape == (0, 256, 256, 3) and data.images("test").keys == ()


def test_fingerprint_follows_the_images(tmp_path):
    chosen = settings(image_folder(tmp_path / "images"))
    before = fingerprint(chosen)
    assert fingerprint(chosen) == before
    fill(tmp_path / "images" / "train" / "rose", 1, seed=999)
    assert fingerprint(chosen) != before


def test_worker_count_changes_no_byte(tmp_path):
    images = image_folder(tmp_path / "images", test=70)
    (images / "test" / "rose" / "003.jpg").write_bytes(b"no image")
    outputs = []
    for workers in (1, 4):
        folder = tmp_path / f"out{workers}"
        folder.mkdir()
        ctx = StageContext(
            settings(images),
            {},
            folder,
            host=StageContext.host.model_copy(update={"workers": workers}),
        )
        run(ctx)
        outputs.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert outputs[0] == outputs[1]


def test_all_shots_of_classes_that_differ_in_size(tmp_path):
    images = image_folder(tmp_path / "images", train=3)
    fill(images / "train" / "rose", 5, seed=7000)
    (images / "train" / "water_lily" / "000.jpg").write_bytes(b"no image")
    data, facts = make(tmp_path, settings(images, shots="all"))
    assert np.bincount(data.shots.labels).tolist() == [5, 2] and len(data.shots.pixels) == 7
    assert (facts["shots"], facts["train_images"], facts["skipped"]) == ("all", 7, 1)


def test_all_shots_need_training_images(tmp_path):
    images = image_folder(tmp_path / "images")
    shutil.rmtree(images / "train")
    with pytest.raises(DataError, match="has test/ but no train/.*data.shots is all.*--shots 0"):
        make(tmp_path, settings(images, shots="all"))


def test_files_that_are_no_images_change_nothing_but_a_note(tmp_path):
    images = image_folder(tmp_path / "images", train=5, test=4)
    plain, facts = make(tmp_path, settings(images, shots=2), "plain")
    before = fingerprint(settings(images))
    for image in list(images.rglob("*.jpg")):
        image.with_suffix(".json").write_text('{"shapes": []}')
        image.with_suffix(".txt").write_text("BMW 320, P3 color, Pyrus")
    (images / "train" / "labels").mkdir()
    (images / "train" / "labels" / "0.txt").write_text("0 0.5 0.5 1 1")
    (images / "README.md").write_text("# Roses")
    beside, noted = make(tmp_path, settings(images, shots=2), "beside")
    assert fingerprint(settings(images)) == before
    assert np.array_equal(plain.shots.pixels, beside.shots.pixels)
    assert {**noted, "notes": []} == {**facts, "notes": []} and facts["notes"] == []
    assert noted["notes"][0].startswith("left out, since they are no images of a class: 36 files")
    assert "folders train/labels/" in noted["notes"][0]


def test_a_stop_on_unreadable_images_names_the_commonest_reason_and_keeps_the_list(tmp_path):
    images = image_folder(tmp_path / "images", train=4)
    rose = images / "train" / "rose"
    for number, image in enumerate(sorted(rose.iterdir())[:3]):
        half = saved(grainy(number))
        image.write_bytes(half[: len(half) // 2])
    (rose / "003.jpg").write_bytes(b"")
    why = r"0 readable of 4.*3 of 4: cannot be decoded.*truncated.*e\.g\. train/rose/00.\.jpg"
    with pytest.raises(DataError, match=why):
        make(tmp_path, settings(images))
    kept = DataArtifact(tmp_path / "out").skipped
    assert sorted(row["key"] for row in kept) == [f"train/rose/00{i}.jpg" for i in range(4)]


def test_unreadable_test_images_are_told_with_their_reason(tmp_path):
    images = image_folder(tmp_path / "images", test=4)
    for name in ("rose", "water_lily"):
        for file in sorted((images / "test" / name).iterdir())[:3]:
            file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"is not an image.*e\.g\. test/rose/000\.jpg"):
        make(tmp_path, settings(images))


def test_equal_images_are_named_and_healthy_ones_are_not(tmp_path):
    images = image_folder(tmp_path / "images")
    data, facts = make(tmp_path, settings(images, shots="all"), "healthy")
    assert "duplicates" not in facts and data.duplicates == () and facts["notes"] == []
    rose = images / "train" / "rose" / "000.jpg"
    shutil.copy(rose, images / "test" / "rose" / "leak.jpg")
    with Image.open(images / "test" / "rose" / "000.jpg") as image:
        image.save(images / "test" / "rose" / "again.png")  # the same pixels in other bytes
    twin = images / "train" / "water_lily" / "other.jpg"
    shutil.copy(images / "train" / "rose" / "001.jpg", twin)
    with pytest.raises(
        DataError, match=r"train/rose/000.jpg = test/rose/leak.jpg .*--set data.duplicates=allow"
    ):
        make(tmp_path, settings(images, shots="all"), "refused")
    data, facts = make(tmp_path, settings(images, shots="all", duplicates="allow"))
    assert facts["duplicates"] == {"shots_and_tests": 1, "two_classes": 1, "repeated": 1}
    leak, labels, again = facts["notes"]
    assert "train/rose/000.jpg = test/rose/leak.jpg" in leak and "accuracy is overstated" in leak
    assert "train/rose/001.jpg = train/water_lily/other.jpg" in labels and "two classes" in labels
    assert "test/rose/000.jpg = test/rose/again.png" in again
    assert len(data.duplicates) == 3 and data.duplicates[0][0]["set"] == "shots"


@pytest.mark.parametrize("change", ["another image", "a removed image", "a new image"])
def test_images_that_change_while_they_are_read_are_noticed(tmp_path, monkeypatch, change):
    images = image_folder(tmp_path / "images")
    chosen = settings(images)
    started_with = fingerprint(chosen)
    rose = images / "train" / "rose"
    if change == "another image":
        (rose / "000.jpg").write_bytes(encoded(4711))
    elif change == "a removed image":
        (rose / "003.jpg").unlink()
    else:
        fill(images / "test" / "rose", 4, seed=7000)
    (tmp_path / "out").mkdir()
    ctx = StageContext(chosen, {}, tmp_path / "out", external=started_with)
    with pytest.raises(DataError, match="changed while they were used.*last .*repeat the command"):
        run(ctx)
    again = StageContext(chosen, {}, tmp_path / "out", external=fingerprint(chosen))
    assert run(again)["train_images"] == 4


def test_names_with_line_breaks_stay_on_one_line_of_every_message(tmp_path):
    images = image_folder(tmp_path / "images", classes=("ro\nse", "oak"))
    rose = images / "train" / "ro\nse"
    shutil.copy(rose / "000.jpg", rose / "a\rb.jpg")
    (rose / "c\nd.txt").touch()
    data, facts = make(tmp_path, settings(images, shots="all"))
    assert [entry.name for entry in data.classes] == ["oak", "ro se"]
    assert len(facts["notes"]) == 3 and not any(set("\n\r") & set(text) for text in facts["notes"])
    assert "train/ro\nse/a\rb.jpg" in data.shots.keys, "keys are the files' own names"
    for image in rose.glob("*.jpg"):
        image.write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        make(tmp_path, settings(images), "stopped")
    assert "\n" not in str(caught.value).replace(str(tmp_path), "") and "e.g." in str(caught.value)
