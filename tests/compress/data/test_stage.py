from __future__ import annotations

import errno
import json
import os
import shutil

import numpy as np
import pytest
from image_folders import encoded, fill, image_folder, photo
from PIL import Image

from compress.data.geometry import eval_geometry, shot_geometry
from compress.data.rows import RowWriter
from compress.data.stage import fingerprint, run
from compress.engine.config import Settings, resolve
from compress.engine.errors import DataError
from compress.engine.stage import StageContext
from runtime.preprocess import decode, geometry


def settings(path, seed=0, size=16, crop_pct=0.8, **data) -> Settings:
    data = {"dataset": None, "path": path, "shots": 2, **data}
    return resolve({"seed": seed, "image": {"size": size, "crop_pct": crop_pct}, "data": data})


def make(tmp_path, chosen: Settings, name="out"):
    folder = tmp_path / name
    folder.mkdir()
    facts = run(StageContext(chosen, {}, folder, chosen.seed))
    return folder, facts


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_files_and_facts(tmp_path):
    images = image_folder(tmp_path / "images")
    folder, facts = make(tmp_path, settings(images, category="flower"))
    shots, test = (
        np.load(folder / "shots.npy", mmap_mode="r"),
        np.load(folder / "test.npy", mmap_mode="r"),
    )
    assert (shots.shape, shots.dtype) == ((4, 20, 20, 3), np.uint8)
    assert (test.shape, test.dtype) == ((6, 16, 16, 3), np.uint8)
    assert read(folder, "classes.json") == [
        {"name": "rose", "prompt": "rose", "category": "flower"},
        {"name": "water lily", "prompt": "water lily", "category": "flower"},
    ]
    assert [row["label"] for row in read(folder, "shots.json")] == [0, 0, 1, 1]
    assert [row["label"] for row in read(folder, "test.json")] == [0, 0, 0, 1, 1, 1]
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
    assert sorted(os.listdir(folder)) == sorted(
        ["classes.json", "shots.json", "shots.npy", "skipped.json", "test.json", "test.npy"]
    )


def test_pixels_are_the_runtimes_own(tmp_path):
    images = image_folder(tmp_path / "images")
    chosen = settings(images)
    folder, _ = make(tmp_path, chosen)
    for name, spec in (
        ("shots", shot_geometry(chosen.image)),
        ("test", eval_geometry(chosen.image)),
    ):
        stored = np.load(folder / f"{name}.npy")
        for pixels, row in zip(stored, read(folder, f"{name}.json"), strict=True):
            assert np.array_equal(pixels, geometry(decode(images / row["key"]), spec))


def test_shots_are_nested_repeat_and_never_meet_the_test(tmp_path):
    images = image_folder(tmp_path / "images", train=8)
    drawn = {}
    for shots in (1, 4):
        folder, _ = make(tmp_path, settings(images, shots=shots), f"out{shots}")
        drawn[shots] = {row["key"] for row in read(folder, "shots.json")}
        assert not drawn[shots] & {row["key"] for row in read(folder, "test.json")}
    assert drawn[1] < drawn[4]
    again, _ = make(tmp_path, settings(images, shots=4), "again")
    assert (again / "shots.npy").read_bytes() == (tmp_path / "out4" / "shots.npy").read_bytes()
    other, _ = make(tmp_path, settings(images, shots=4, seed=1), "other")
    assert {row["key"] for row in read(other, "shots.json")} != drawn[4]
    assert (other / "test.npy").read_bytes() == (
        again / "test.npy"
    ).read_bytes()  # every seed is tested on the same


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
    folder, facts = make(tmp_path, settings(images))
    assert facts["skipped"] == 0 and facts["test_images"] == 6 + 9
    row = [entry["key"] for entry in read(folder, "test.json")].index("test/rose/turned.jpg")
    upright = photo(8, (40, 20)).transpose(Image.Transpose.ROTATE_270)
    expected = geometry(upright, eval_geometry(settings(images).image)).astype(int)
    assert np.abs(np.load(folder / "test.npy")[row] - expected).mean() < 6  # JPEG


def test_what_cannot_be_read_is_listed_with_its_reason_and_skipped(tmp_path):
    images = image_folder(tmp_path / "images", train=5, test=4)
    for part in ("train", "test"):
        rose = images / part / "rose"
        (rose / "cut.jpg").write_bytes(encoded(size=(80, 80))[:-300])
        (rose / "notes.txt").write_text("not an image")
        photo(size=(90, 90)).save(rose / "bomb.png")
        (rose / "empty.jpg").touch()
        (rose / "gone.jpg").symlink_to(images / "nowhere.jpg")
    folder, facts = make(tmp_path, settings(images, shots=5, max_pixels=8000))
    skipped = {row["key"]: row["reason"] for row in read(folder, "skipped.json")}
    assert (
        "too large" in skipped["test/rose/bomb.png"]
        and "8,100 pixels" in skipped["test/rose/bomb.png"]
    )
    assert "not an image" in skipped["test/rose/notes.txt"]
    assert "truncated" in skipped["test/rose/cut.jpg"]
    assert {"test/rose/empty.jpg", "test/rose/gone.jpg"} < set(skipped)
    assert not any(
        str(tmp_path) in reason for reason in skipped.values()
    )  # the artifact does not depend on the place
    assert (
        facts["test_images"] == 8 == len(np.load(folder / "test.npy"))
        and facts["train_images"] == 10
    )
    assert facts["skipped"] == len(skipped) and "could not be read" in facts["notes"][-1]
    assert not {row["key"] for row in read(folder, "shots.json")} & set(skipped)


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
    with pytest.raises(
        DataError, match="a class has no readable image among the test images.*got rose"
    ):
        make(tmp_path, settings(images))


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
        folder, facts = make(tmp_path, settings(images, seed=seed, test_limit=6), f"out{seed}")
        assert facts["test_images"] == 6
        parts.append(read(folder, "test.json"))
    assert parts[0] == parts[1] and sorted(row["label"] for row in parts[0]) == [0, 0, 0, 1, 1, 1]


def test_zero_shots_with_a_folder(tmp_path):
    folder, facts = make(tmp_path, settings(image_folder(tmp_path / "images"), shots=0))
    assert np.load(folder / "shots.npy", mmap_mode="r").shape == (0, 20, 20, 3)
    assert facts["train_images"] == 0 and facts["test_images"] == 6
    assert any("0 shots: no training image is used" in note for note in facts["notes"])


def test_only_class_names(tmp_path):
    chosen = resolve({"data": {"dataset": None, "classes": ["rose", "tulip"], "shots": 0}})
    folder, facts = make(tmp_path, chosen)
    assert np.load(folder / "test.npy").shape == (0, 224, 224, 3) and facts["test_images"] == 0
    assert (
        np.load(folder / "shots.npy").shape == (0, 256, 256, 3) and read(folder, "test.json") == []
    )


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


def test_rows_grow_without_knowing_their_number(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (1234, 2, 3), dtype=np.uint8)
    with RowWriter(tmp_path / "rows.npy", (2, 3)) as file:
        for row in rows:
            file.append(row)
    assert np.array_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)


def test_rows_of_another_shape_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="the file holds uint8"),
        RowWriter(tmp_path / "rows.npy", (2, 3)) as file,
    ):
        file.append(np.zeros((3, 2), np.uint8))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_an_error_not_a_signal(tmp_path):
    (tmp_path / "rows.npy").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught, RowWriter(tmp_path / "rows.npy", (64, 64)) as file:
        for _ in range(100):
            file.append(np.zeros((64, 64), np.uint8))
    assert caught.value.errno in (errno.ENOSPC, errno.ESPIPE)


def test_all_shots_of_classes_that_differ_in_size(tmp_path):
    images = image_folder(tmp_path / "images", train=3)
    fill(images / "train" / "rose", 5, seed=700)
    (images / "train" / "water_lily" / "000.jpg").write_bytes(b"no image")
    folder, facts = make(tmp_path, settings(images, shots="all"))
    labels = [row["label"] for row in read(folder, "shots.json")]
    assert (labels.count(0), labels.count(1)) == (5, 2) and len(np.load(folder / "shots.npy")) == 7
    assert (facts["shots"], facts["train_images"], facts["skipped"]) == ("all", 7, 1)


def test_all_shots_need_training_images(tmp_path):
    images = image_folder(tmp_path / "images")
    shutil.rmtree(images / "train")
    with pytest.raises(DataError, match="has test/ but no train/.*data.shots is all.*--shots 0"):
        make(tmp_path, settings(images, shots="all"))
