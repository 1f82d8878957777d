"""Every row of the catalog. The layouts are torchvision's real ones, read by torchvision's real
code.

Where it checks MD5 sums of the original files, which a test cannot have, the check alone is reduced
to "the file is there" (fixture ``unchecked``).
"""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
from image_folders import encoded, fill

from compress.api import settings_for
from compress.data.datasets.catalog import CATALOG, dataset, open_dataset, root_of
from compress.data.datasets.names import (
    CALTECH101,
    CIFAR10,
    CIFAR100,
    EUROSAT,
    FLOWERS,
    IMAGENETTE,
    STL10,
    SVHN,
)
from compress.data.datasets.readers import Petals
from compress.data.sources import missing, open_source
from compress.data.stage import run
from compress.engine.config import DataSettings, Settings, resolve
from compress.engine.errors import ConfigError, DownloadError
from compress.engine.options import EMBEDDED_DATASETS
from compress.engine.stage import StageContext

CHECKED = ("flowers102", "cifar", "svhn", "stl10")  # torchvision modules that compare MD5 sums


@pytest.fixture
def unchecked(monkeypatch):
    def is_there(path, md5=None):
        return os.path.isfile(path)

    for module in CHECKED:
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", is_there)


@pytest.fixture
def no_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # refuses at once
    monkeypatch.delenv("no_proxy", raising=False)


def named(name, root, **changes) -> DataSettings:
    return DataSettings(dataset=name, root=root, **{"offline": True, "shots": 1, **changes})


def names_of(source):
    return [source.names[label] for label in source.test.labels]


def place_flowers(root):
    from scipy.io import savemat

    base = root / "flowers-102"
    fill(base / "jpg", 0)
    for number in range(1, 9):
        (base / "jpg" / f"image_{number:05d}.jpg").write_bytes(encoded(number))
    savemat(
        base / "imagelabels.mat", {"labels": np.array([[1, 1, 60, 60, 102, 102, 1, 60]], np.uint8)}
    )
    savemat(base / "setid.mat", {"trnid": [[1, 3]], "valid": [[5, 7]], "tstid": [[2, 4, 6]]})


def test_flowers_layout_without_checksums(tmp_path, unchecked):
    place_flowers(tmp_path)
    source = open_source(named("flowers", tmp_path))
    assert len(source.classes) == 102 and {entry.category for entry in source.classes} == {"flower"}
    assert not any("?" in name or "globe-" in name for name in source.names)
    assert names_of(source) == ["pink primrose", "pink and yellow dahlia", "blackberry lily"]
    assert source.train.labels.tolist() == [0, 59, 101, 0]  # train and val
    assert source.test.keys[0] == "flowers-102/jpg/image_00002.jpg" and source.test.image(
        0
    ).size == (20, 14)
    before = source.identity()
    (tmp_path / "flowers-102" / "jpg" / "image_00002.jpg").write_bytes(encoded(2, size=(90, 90)))
    assert open_source(named("flowers", tmp_path)).identity() != before


def test_flowers_with_a_wrong_checksum_is_not_taken(tmp_path):
    place_flowers(tmp_path)
    with pytest.raises(DownloadError, match="Oxford Flowers-102 can be neither .*corrupted"):
        open_source(named("flowers", tmp_path))


def test_cars_layout(tmp_path):
    from scipy.io import savemat

    base = tmp_path / "stanford_cars"
    cars = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], object)
    kinds = [("fname", object), ("class", object)]
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": cars})
    for part, listing in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        fill(base / f"cars_{part}", 3)
        rows = np.array(
            [(f"{index:03d}.jpg", label) for index, label in enumerate((1, 2, 2))], kinds
        )
        savemat(base / listing, {"annotations": rows})
    source = open_source(named("cars", tmp_path))
    assert source.names == tuple(cars) and source.classes[0].category == "car"
    assert source.train.labels.tolist() == source.test.labels.tolist() == [0, 1, 1]
    assert source.test.image(2).size == (20, 14)


def test_food_layout(tmp_path):
    base = tmp_path / "food-101"
    (base / "meta").mkdir(parents=True)
    for part, numbers in (("train", (0, 1)), ("test", (2,))):
        listed = {
            food: [f"{food}/{number:03d}" for number in numbers] for food in ("tacos", "apple_pie")
        }
        (base / "meta" / f"{part}.json").write_text(json.dumps(listed))
    for food in ("tacos", "apple_pie"):
        fill(base / "images" / food, 3)
    source = open_source(named("food", tmp_path))
    assert source.names == ("apple pie", "tacos") and source.classes[0].category == "food"
    assert names_of(source) == ["tacos", "apple pie"] and len(source.train) == 4
    assert source.test.keys[0] == "food-101/images/tacos/002.jpg" and source.test.image(0).size == (
        20,
        14,
    )


def test_cifar10_layout_without_checksums(tmp_path, unchecked):
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (base / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10))}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10)}))
    source = open_source(named("cifar10", tmp_path))
    assert names_of(source) == list(CIFAR10) and len(source.train) == 50
    assert np.array_equal(
        np.asarray(source.test.image(3)), pixels[3].reshape(3, 32, 32).transpose(1, 2, 0)
    )
    assert source.test.keys[3] == "test/000003"


def test_cifar100_layout_without_checksums_and_its_long_tail(tmp_path, unchecked):
    base = tmp_path / "cifar-100-python"
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (300, 3072), dtype=np.uint8)
    for name in ("train", "test"):
        content = {"data": pixels, "fine_labels": [row % 100 for row in range(300)]}
        (base / name).write_bytes(pickle.dumps(content))
    (base / "meta").write_bytes(pickle.dumps({"fine_label_names": list(CIFAR100)}))
    source = open_source(named("cifar100", tmp_path))
    assert source.names == CIFAR100 and len(set(CIFAR100)) == 100
    assert names_of(source)[:100] == list(CIFAR100) and len(source.train) == 300
    tail = open_source(named("cifar100-lt", tmp_path))
    counts = np.bincount(tail.train.labels, minlength=100)
    assert counts[0] == 3 and counts[-1] == 1 and len(tail.test) == 300


def test_svhn_layout_without_checksums(tmp_path, unchecked):
    from scipy.io import savemat

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
    for part in ("train", "test"):
        savemat(
            tmp_path / f"{part}_32x32.mat",
            {"X": pixels, "y": np.arange(1, 11, dtype=np.uint8)[:, None]},
        )
    source = open_source(named("svhn", tmp_path))
    assert names_of(source) == [*SVHN[1:], "0"]  # the files call the digit 0 "10"
    assert source.classes[3].prompt == 'number "3"'
    assert np.array_equal(np.asarray(source.test.image(4)), pixels[..., 4])


def test_stl10_layout_without_checksums(tmp_path, unchecked):
    base = tmp_path / "stl10_binary"
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 96, 96), dtype=np.uint8)
    for part in ("train", "test"):
        (base / f"{part}_X.bin").write_bytes(pixels.transpose(0, 1, 3, 2).tobytes())
        (base / f"{part}_y.bin").write_bytes(np.arange(1, 11, dtype=np.uint8).tobytes())
    (base / "unlabeled_X.bin").touch()
    source = open_source(named("stl10", tmp_path))
    assert names_of(source) == list(STL10)
    assert np.array_equal(np.asarray(source.test.image(7)), pixels[7].transpose(1, 2, 0))


def test_imagenette_layout(tmp_path):
    for part, count in (("train", 3), ("val", 2)):
        for wnid in IMAGENETTE:
            fill(tmp_path / "imagenette2" / part / wnid, count)
    source = open_source(named("imagenette", tmp_path))
    assert source.names == tuple(IMAGENETTE.values()) and (len(source.train), len(source.test)) == (
        30,
        20,
    )


def test_eurosat_layout_is_split_for_every_class(tmp_path):
    for folder in EUROSAT:
        fill(tmp_path / "eurosat" / "2750" / folder, 10)
    source = open_source(named("eurosat", tmp_path))
    assert np.bincount(source.test.labels).tolist() == [2] * 10 and len(source.train) == 80
    assert not set(source.train.keys) & set(source.test.keys)
    assert source.test.keys == open_source(named("eurosat", tmp_path)).test.keys
    assert source.classes[0].name == "annual crop land"
    assert source.classes[0].prompt == "satellite view of annual crop land"
    assert "no official split" in source.notes[0]


def test_caltech101_layout(tmp_path):
    for folder in ("Faces", "yin_yang", "dollar_bill", "BACKGROUND_Google"):
        fill(tmp_path / "caltech101" / "101_ObjectCategories" / folder, 5)
    source = open_source(named("caltech101", tmp_path))
    assert source.names == ("off-center face", "dollar bill", "yin and yang symbol")
    assert (len(source.train), len(source.test)) == (12, 3)
    assert set(source.test.labels.tolist()) == {0, 1, 2}


def test_petals_and_its_styles(tmp_path):
    source = open_source(named("petals", None))
    assert len(source.classes) == CATALOG["petals"].classes == len(set(source.names))
    assert source.train.image(0).size == (32, 32) and not set(source.train.keys) & set(
        source.test.keys
    )
    sketch = open_source(named("petals", None, style="sketch"))
    assert sketch.identity() != source.identity() == open_source(named("petals", None)).identity()
    assert np.asarray(sketch.test.image(5)).tobytes() != np.asarray(source.test.image(5)).tobytes()
    with pytest.raises(ConfigError, match="unknown style of petals.*did you mean 'sketch'"):
        open_source(named("petals", None, style="skech"))


def test_petals8_has_one_species_of_each_genus_and_the_same_pictures():
    whole = open_source(named("petals", None, test_domains=("all",)))
    part = open_source(named("petals8", None, test_domains=("all",)))
    assert part.names == whole.names[::4] and len(part.names) == CATALOG["petals8"].classes == 8
    assert part.name == "petals8" and tuple(part.others) == tuple(whole.others)
    assert np.bincount(part.test.labels).tolist() == [40] * 8
    for i in (0, 41, len(part.test) - 1):
        there = whole.test.keys.index(part.test.keys[i])
        assert np.array_equal(part.test.image(i), whole.test.image(there))
        assert whole.names[whole.test.labels[there]] == part.names[part.test.labels[i]]
    assert part.identity() != whole.identity()


def test_the_embedded_world_knows_its_datasets():
    readers = {name: getattr(row.read, "whole", row.read) for name, row in CATALOG.items()}
    drawn = (name for name, reader in readers.items() if isinstance(reader, Petals))
    assert tuple(drawn) == EMBEDDED_DATASETS
    for name in EMBEDDED_DATASETS:
        settings = settings_for(name, preset="smoke")
        assert (settings.data.dataset, settings.teacher.name) == (name, "petals")
        assert missing(settings, online=False) is None


def test_a_named_dataset_runs_through_the_stage(tmp_path, unchecked):
    place_flowers(tmp_path)
    (tmp_path / "flowers-102" / "jpg" / "image_00006.jpg").write_bytes(encoded(6)[:-200])
    folder = tmp_path / "out"
    folder.mkdir()
    chosen = resolve(
        {"image": {"size": 16}, "data": {"dataset": "flowers", "root": tmp_path, "shots": 0}}
    )
    facts = run(StageContext(chosen, {}, folder))
    told = [note for note in facts["notes"] if "no readable image" in note]
    assert facts["test_images"] == 2 and "of: blackberry lily; 1 of 1: " in told[0]
    (tmp_path / "flowers-102" / "jpg" / "image_00006.jpg").write_bytes(encoded(6))
    facts = run(StageContext(chosen, {}, folder))
    assert (facts["name"], facts["classes"], facts["test_images"]) == ("flowers", 102, 3)
    assert np.load(folder / "test.npy").shape == (3, 16, 16, 3)


def test_unknown_dataset_names_the_nearest():
    with pytest.raises(
        ConfigError, match="unknown dataset.*got 'flower'.*did you mean 'flowers'.*--data DIR"
    ):
        open_source(DataSettings(dataset="flower"))


@pytest.mark.parametrize("name", sorted(set(CATALOG) - set(EMBEDDED_DATASETS)))
@pytest.mark.parametrize("offline", [True, False])
def test_an_unreachable_dataset_is_one_error_that_names_every_file(
    tmp_path, no_network, name, offline, capfd
):
    with pytest.raises(DownloadError) as caught:
        open_dataset(named(name, tmp_path, offline=offline))
    text = str(caught.value)
    for part in (
        CATALOG[name].title,
        CATALOG[name].home,
        "compress build --dataset petals",
        "--data DIR",
    ):
        assert part in text
    for file in CATALOG[name].files:
        assert str(tmp_path / file) in text
    assert "\n" not in text


@pytest.mark.parametrize("name", sorted(set(CATALOG) - set(EMBEDDED_DATASETS)))
def test_missing_says_it_before_any_work(tmp_path, name):
    assert str(tmp_path / CATALOG[name].files[0]) in (
        missing(Settings(data=named(name, tmp_path)), online=False) or ""
    )
    online = missing(Settings(data=named(name, tmp_path, offline=False)), online=True)
    assert (online is None) == CATALOG[name].downloadable
    for file in CATALOG[name].files:
        path = (tmp_path / file).parent if file.endswith(" ...") else tmp_path / file
        path.mkdir(parents=True, exist_ok=True)
    assert missing(Settings(data=named(name, tmp_path)), online=False) is None


def test_petals_is_never_missing(tmp_path):
    assert missing(Settings(data=named("petals", tmp_path)), online=False) is None


def test_rows_are_complete():
    for name, row in CATALOG.items():
        assert row.title and row.license and row.classes > 1 and "{}" in row.prompt, name
        assert name in EMBEDDED_DATASETS or (row.files and row.home), name
        assert dataset(name) is row


def test_name_lists_are_names_of_torchvisions_classes():
    from torchvision.datasets import Flowers102, Imagenette

    assert set(FLOWERS) < set(Flowers102.classes) and len(Flowers102.classes) == 102
    assert set(IMAGENETTE) == set(Imagenette._WNID_TO_CLASS)
    assert len(set(EUROSAT.values())) == 10 and len(set(CALTECH101.values())) == len(CALTECH101)


def test_default_root_follows_the_work_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP2EDGE_WORK", str(tmp_path))
    assert root_of(DataSettings()) == tmp_path / "datasets"
