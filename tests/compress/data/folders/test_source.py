from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import unicodedata

import numpy as np
import pytest
from image_folders import encoded, fill, image_folder, photo

from compress.data.sources import open_source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError


def settings(path, **changes) -> DataSettings:
    return DataSettings(dataset=None, path=path, **{"shots": 2, **changes})


def test_train_and_test_folders(tmp_path):
    source = open_source(settings(image_folder(tmp_path), category="flower"))
    assert source.names == ("rose", "water_lily"), "the folder's name is the label"
    assert source.classes[1].prompt == "water lily" and source.classes[1].category == "flower"
    assert (len(source.train), len(source.test)) == (8, 6)
    assert source.train.keys[0] == "train/rose/000.jpg" and source.test.labels.tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]
    assert source.train.image(0).size == (20, 14)


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("test", ["Test", "val", "valid", "Validation"])
def test_split_folders_are_found_under_their_usual_names(tmp_path, train, test):
    image_folder(tmp_path)
    (tmp_path / "train").rename(tmp_path / train)
    (tmp_path / "test").rename(tmp_path / test)
    source = open_source(settings(tmp_path))
    assert (len(source.train), len(source.test)) == (8, 6)


def test_validation_is_not_used_beside_test_and_said(tmp_path):
    image_folder(tmp_path)
    fill(tmp_path / "val" / "rose", 5)
    source = open_source(settings(tmp_path))
    assert len(source.test) == 6 and "val/ is not used" in source.notes[0]


def test_one_folder_is_split_with_a_fixed_seed(tmp_path):
    fill(tmp_path / "rose", 10)
    fill(tmp_path / "tulip", 5)
    first, again = (open_source(settings(tmp_path)) for _ in range(2))
    assert (len(first.train), len(first.test)) == (12, 3)
    assert first.test.keys == again.test.keys and not set(first.test.keys) & set(first.train.keys)
    assert "20% of every class is held out" in first.notes[0]


def test_train_without_test_is_split(tmp_path):
    image_folder(tmp_path, train=5)
    shutil.rmtree(tmp_path / "test")
    source = open_source(settings(tmp_path))
    assert (len(source.train), len(source.test)) == (8, 2)


def test_train_can_be_a_class(tmp_path):
    for name in ("train", "bus", "car"):
        fill(tmp_path / name, 3)
    assert open_source(settings(tmp_path)).names == ("bus", "car", "train")


def test_a_folder_around_the_folder_is_stepped_into(tmp_path):
    image_folder(tmp_path / "flowers")
    source = open_source(settings(tmp_path))
    assert len(source.train) == 8 and "holds only flowers/" in source.notes[0]


def test_nested_files_and_hidden_files(tmp_path):
    image_folder(tmp_path)
    fill(tmp_path / "train" / "rose" / "garden" / "south", 2)
    for name in (".DS_Store", ".hidden.jpg", "Thumbs.db", "desktop.ini"):
        (tmp_path / "train" / "rose" / name).write_bytes(encoded())
    fill(tmp_path / "train" / ".cache", 2)
    source = open_source(settings(tmp_path))
    assert source.names == ("rose", "water_lily") and len(source.train) == 10
    assert "train/rose/garden/south/001.jpg" in source.train.keys


def test_zero_shots_need_names_and_test_images_only(tmp_path):
    image_folder(tmp_path)
    shutil.rmtree(tmp_path / "train")
    source = open_source(settings(tmp_path, shots=0))
    assert (
        len(source.train) == 0 and len(source.test) == 6 and source.names == ("rose", "water_lily")
    )
    assert any(note.startswith("0 shots") for note in source.notes)
    with pytest.raises(DataError, match="no train/.*--shots 0"):
        open_source(settings(tmp_path, shots=1))


def test_zero_shots_ignore_training_images(tmp_path):
    source = open_source(settings(image_folder(tmp_path), shots=0))
    assert len(source.train) == 0 and len(source.test) == 6


def test_missing_folder_names_the_nearest(tmp_path):
    image_folder(tmp_path / "flowers12")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="does not exist.*did you mean 'flowers12'"):
        open_source(settings(tmp_path / "flower12"))


def test_single_file_is_refused(tmp_path):
    photo().save(tmp_path / "rose.png")
    with pytest.raises(DataError, match="is a file.*the folder around it"):
        open_source(settings(tmp_path / "rose.png"))


@pytest.mark.parametrize(
    "name, told",
    [
        ("photos.zip", "damaged, cut.*download it again"),
        ("photos.tar", "damaged, cut.*download it again"),  # whose damaged start tells nothing
        ("photos.rar", "of a kind that is not read.*unpack it"),
    ],
)
def test_a_damaged_archive_is_told_from_one_that_is_not_read(tmp_path, name, told):
    (tmp_path / name).write_bytes(b"PK\x03\x04half")
    with pytest.raises(DataError, match=told):
        open_source(settings(tmp_path / name))


def test_loose_images_are_refused(tmp_path):
    with pytest.raises(DataError, match="no class folders.*got 3 files"):
        open_source(settings(fill(tmp_path, 3)))


def test_one_class_is_refused(tmp_path):
    with pytest.raises(DataError, match="a single class.*got rose"):
        open_source(settings(image_folder(tmp_path, classes=("rose",))))


def test_an_empty_folder_declares_a_class(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "train" / "tulip").mkdir()
    (tmp_path / "train" / "tulip" / ".keep").touch()
    (tmp_path / "train" / "oak").mkdir()
    (tmp_path / "train" / "oak" / "oak.txt").write_text("an oak")
    source = open_source(settings(tmp_path))
    assert source.names == ("oak", "rose", "tulip", "water_lily")
    assert source.empty["tulip"] == "an empty folder"
    assert source.empty["oak"] == "1 files, none an image, e.g. oak.txt"
    assert any("no training image of: oak, tulip" in note for note in source.notes)


def test_folders_without_any_image_are_refused(tmp_path):
    for name in ("rose", "tulip"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"empty classes only.*rose \(an empty folder\)"):
        open_source(settings(tmp_path))


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_class_without_test_images_is_kept_and_told(tmp_path, how):
    fill(image_folder(tmp_path) / "train" / "tulip", 2, seed=9000)
    if how == "empty":
        (tmp_path / "test" / "tulip").mkdir()
    source = open_source(settings(tmp_path))
    assert source.names == ("rose", "tulip", "water_lily") and not source.empty
    assert np.bincount(source.test.labels, minlength=3).tolist() == [3, 0, 3]
    assert "no test image, so no accuracy, of: tulip" in source.notes


def test_test_images_of_an_unknown_class_are_left_out_and_told(tmp_path):
    fill(image_folder(tmp_path) / "test" / "tulip", 2, seed=9000)
    source = open_source(settings(tmp_path))
    assert source.names == ("rose", "water_lily") and len(source.test) == 6
    assert source.facts.unknown == {"tulip": 2}
    assert any("without a training folder are not used: tulip (2)" in note for note in source.notes)


def test_one_image_and_no_test_folder_is_for_training(tmp_path):
    fill(tmp_path / "rose", 1)
    fill(tmp_path / "tulip", 5, seed=100)
    source = open_source(settings(tmp_path, shots=1))
    assert (len(source.train), len(source.test)) == (5, 1)
    assert "no test image, so no accuracy, of: rose" in source.notes
    for image in sorted((tmp_path / "tulip").iterdir())[1:]:
        image.unlink()
    source = open_source(settings(tmp_path, shots=1))
    assert (len(source.train), len(source.test)) == (2, 0)
    assert any("no accuracy is measured: add test images" in note for note in source.notes)
    assert not any("held out" in note for note in source.notes)


def test_two_folders_of_one_name_are_refused(tmp_path):
    image_folder(tmp_path, classes=("water_lily", "water lily", "rose"))
    with pytest.raises(DataError, match="the same class name 'water lily'"):
        open_source(settings(tmp_path))


@pytest.mark.parametrize("target", [".", "itself"])
def test_loop_of_links_is_refused(tmp_path, target):
    rose = image_folder(tmp_path) / "train" / "rose"
    os.symlink(rose if target == "." else rose / "itself", rose / "itself")
    with pytest.raises(DataError, match="loop of symbolic links"):
        open_source(settings(tmp_path))


def test_links_that_do_not_loop_are_followed(tmp_path):
    fill(tmp_path / "elsewhere", 3)
    image_folder(tmp_path / "images")
    os.symlink(tmp_path / "elsewhere", tmp_path / "images" / "train" / "rose" / "more")
    assert len(open_source(settings(tmp_path / "images")).train) == 11


def test_names_that_are_not_utf8_get_printable_keys(tmp_path):
    image_folder(tmp_path)
    with open(os.path.join(os.fsencode(tmp_path), b"train", b"rose", b"\xff.jpg"), "wb") as file:
        file.write(encoded())
    source = open_source(settings(tmp_path))
    odd = next(index for index, key in enumerate(source.train.keys) if "\\xff" in key)
    source.train.keys[odd].encode()
    assert source.train.image(odd).size == (20, 14)


def test_identity_follows_names_and_content_only(tmp_path):
    def identity(path):
        return open_source(settings(path)).identity()["folder"]

    before = identity(image_folder(tmp_path / "a"))
    assert identity(image_folder(tmp_path / "b")) == before  # another place, other times
    (tmp_path / "b" / "train" / ".DS_Store").touch()
    assert identity(tmp_path / "b") == before
    (tmp_path / "b" / "train" / "rose" / "000.jpg").write_bytes(encoded(999))
    changed = identity(tmp_path / "b")
    (tmp_path / "a" / "train" / "rose" / "000.jpg").rename(
        tmp_path / "a" / "train" / "rose" / "999.jpg"
    )
    assert len({before, changed, identity(tmp_path / "a")}) == 3


NFC = "Bl\u00fcte"
NFD = "Blu\u0308te"


@pytest.mark.parametrize(
    "train, test",
    [
        (NFC, NFD),
        (NFD, NFC),
        ("water_lily", "water lily"),
        ("rose\u200b", "rose"),
        ("rote rose", "rote\u00a0rose"),
    ],
)
def test_one_name_in_two_spellings_is_one_class_across_train_and_test(tmp_path, train, test):
    image_folder(tmp_path, classes=("oak",))
    fill(tmp_path / "train" / train, 2)
    fill(tmp_path / "test" / test, 2)
    source = open_source(settings(tmp_path))
    assert len(source.names) == 2 and len(source.test) == 5
    assert unicodedata.is_normalized("NFC", "".join(source.names))
    assert f"test/{test}/000.jpg" in source.test.keys, "keys are the files' own names"


@pytest.mark.parametrize("other", [NFD, NFC + "\u200b", NFC + "\u200e", NFC + "\u00a0"])
def test_two_folders_that_look_the_same_are_one_class(tmp_path, other):
    image_folder(tmp_path, classes=("oak", NFC, other))
    source = open_source(settings(tmp_path))
    assert sorted(source.names) == [NFC, "oak"]
    assert np.bincount(source.train.labels).tolist() == [8, 4]
    assert source.facts.renamed[0].name == NFC and source.facts.renamed[0].folder == other
    assert any(f"{ascii(other)} as {NFC}" in note for note in source.notes)


@pytest.mark.parametrize("other", [NFC.upper(), "_" + NFC])
def test_two_folders_that_differ_in_case_or_signs_are_refused(tmp_path, other):
    image_folder(tmp_path, classes=("oak", NFC, other))
    with pytest.raises(DataError, match="two folders of .* give the same class name .*rename"):
        open_source(settings(tmp_path))


def test_names_in_both_forms_of_unicode_hold_out_the_same_images(tmp_path):
    held_out = []
    for form in (NFC, NFD):
        fill(tmp_path / form.encode().hex() / form, 10)
        fill(tmp_path / form.encode().hex() / "oak", 10)
        source = open_source(settings(tmp_path / form.encode().hex()))
        held_out.append([key.rpartition("/")[2] for key in source.test.keys])
    assert held_out[0] == held_out[1]


@pytest.mark.parametrize("name", ["___", "a\x07b", "\u200b", "\u2800"])
def test_names_that_a_bundle_refuses_are_refused_here(tmp_path, name):
    image_folder(tmp_path, classes=("oak", name))
    with pytest.raises(DataError, match="a class name that no bundle can hold"):
        open_source(settings(tmp_path))
    listed = DataSettings(dataset=None, classes=("oak", name.replace("_", " ")), shots=0)
    with pytest.raises(DataError, match="a class name"):
        open_source(listed)


def test_litter_and_our_own_work_folder_are_no_classes(tmp_path):
    fill(tmp_path / "rose", 10)
    fill(tmp_path / "tulip", 10)
    plain = open_source(settings(tmp_path))
    fill(tmp_path / "__pycache__", 1)
    fill(tmp_path / "rose" / "@eaDir", 1)
    fill(tmp_path / "rose" / "thumbnails", 2)
    fill(tmp_path / "work" / "store" / "generate" / "0", 2)
    (tmp_path / "work" / "runs" / "first").mkdir(parents=True)
    (tmp_path / "work" / "runs" / "first" / "config.yaml").touch()
    source = open_source(settings(tmp_path))
    assert source.names == plain.names and source.train.keys == plain.train.keys
    assert source.identity() == plain.identity()
    assert "2 files, e.g. rose/thumbnails/000.jpg" in source.notes[-1]


@pytest.mark.parametrize("work", ["", "rose"])
def test_a_work_folder_among_the_images_hides_none_of_them(tmp_path, work):
    for number, name in enumerate(("rose", "tulip")):
        fill(tmp_path / name, 3, seed=10 * number)
    before = open_source(settings(tmp_path))
    fill(tmp_path / work / "store" / "generate" / "0", 2)
    (tmp_path / work / "runs" / "first").mkdir(parents=True)
    (tmp_path / work / "runs" / "first" / "config.yaml").touch()
    after = open_source(settings(tmp_path))
    assert (after.names, after.notes) == (before.names, before.notes)
    assert (after.train.keys, after.identity()) == (before.train.keys, before.identity())


def test_a_readme_beside_the_folder_around_the_folder(tmp_path):
    image_folder(tmp_path / "flowers")
    (tmp_path / "README.txt").touch()
    assert len(open_source(settings(tmp_path)).train) == 8


def test_deep_folders_and_links_to_pipes(tmp_path):
    root = image_folder(tmp_path / "images")
    top = deep = os.path.join(root, "train", "rose", "d")
    for _ in range(1100):  # os.makedirs and shutil.rmtree recurse
        os.mkdir(deep)
        deep = os.path.join(deep, "d")
    deep = os.path.dirname(deep)
    os.mkfifo(tmp_path / "pipe")
    os.symlink(tmp_path / "pipe", root / "train" / "rose" / "pipe.jpg")
    with open(os.path.join(deep, "deep.jpg"), "wb") as file:
        file.write(encoded(77))
    try:
        assert len(open_source(settings(root)).train) == 9
    finally:
        subprocess.run(["rm", "-rf", top], check=True)


def test_a_key_stands_for_one_image(tmp_path):
    image_folder(tmp_path)
    for name in (b"\xff.jpg", b"\\xff.jpg"):
        with open(os.path.join(os.fsencode(tmp_path), b"train", b"rose", name), "wb") as file:
            file.write(encoded())
    with pytest.raises(DataError, match="two images have one name"):
        open_source(settings(tmp_path))


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_a_path_that_no_file_system_holds(tmp_path, path):
    with pytest.raises(DataError, match="does not exist"):
        open_source(DataSettings.model_construct(dataset=None, path=tmp_path / path, shots=2))


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    image_folder(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert len(open_source(settings(f"~/{tmp_path.name}")).train) == 8


def test_what_an_archive_loses_is_told(tmp_path):
    folder = image_folder(tmp_path / "x")
    (folder / "train" / "dead.png").symlink_to("nowhere.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder, "x")
    source = open_source(settings(tmp_path / "x.tar", root=tmp_path / "unpacked"))
    assert any("1 member of the archive left out" in note for note in source.notes)
