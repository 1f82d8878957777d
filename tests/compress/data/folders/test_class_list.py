"""classes.yaml beside the images renames, merges, and says what a prompt says."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.artifact import DataArtifact
from compress.data.sources import open_source
from compress.data.split import ClassInfo
from compress.engine.config import DataSettings
from compress.engine.errors import DataError


def source(path: Path):
    return open_source(DataSettings(dataset=None, path=path, shots=2))


def test_names_prompts_and_synonyms(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("n01440764", "010", "no"))
    plain = source(tmp_path)
    text = (
        "n01440764: tench\n010: {name: ten, prompt: the number ten, synonyms: [10, X]}\n"
        "no: {prompt: a no entry sign}\n"
    )
    (tmp_path / "classes.yaml").write_text(text, encoding="utf-8")
    listed = source(tmp_path)
    by_name = {entry.name: entry for entry in listed.classes}
    assert by_name["ten"] == ClassInfo("ten", "the number ten", None, ("10", "X"))
    assert by_name["no"].prompt == "a no entry sign" and by_name["tench"].prompt == "tench"
    assert listed.identity() != plain.identity()
    assert any("classes.yaml renames 2 folders" in note for note in listed.notes)
    assert len(listed.test) == 9, "the test folders are renamed too"
    artifact = DataArtifact(tmp_path)
    artifact.write_classes(listed.classes)
    assert DataArtifact(tmp_path).classes == listed.classes


def test_folders_of_one_name_are_one_class(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("kitten", "cat", "dog"))
    (tmp_path / "classes.yml").write_text("kitten: cat\n", encoding="utf-8")
    merged = source(tmp_path)
    assert merged.names == ("cat", "dog") and (len(merged.train), len(merged.test)) == (12, 9)


def test_folders_that_read_the_same_are_merged_by_name(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("water_lily", "water lily", "oak"))
    with pytest.raises(DataError, match=r"classes\.yaml"):
        source(tmp_path)
    (tmp_path / "classes.yaml").write_text("water_lily: water lily\n", encoding="utf-8")
    assert source(tmp_path).names == ("oak", "water lily")


def test_folders_that_differ_in_case_are_merged_by_their_entries(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("Rose", "rose", "oak"))
    if len(list((tmp_path / "train").iterdir())) == 2:
        pytest.skip("a file system without case")
    (tmp_path / "classes.yaml").write_text("rose: a rose\nRose: a rose\n", encoding="utf-8")
    assert source(tmp_path).names == ("a rose", "oak")


def test_synonyms_are_a_list_or_a_text_with_commas(tmp_path: Path) -> None:
    image_folder(tmp_path)
    for text in ("[sweet briar, eglantine]", "'sweet briar, eglantine'"):
        (tmp_path / "classes.yaml").write_text(f"rose: {{synonyms: {text}}}", "utf-8")
        assert source(tmp_path).classes[0].synonyms == ("sweet briar", "eglantine")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no list of classes.*got nothing"),
        ("- rose\n- tulip\n", "no list of classes.*got list"),
        ("rose: [a, b]", "no class.*folder: name"),
        ("rose: {nmae: a}", "no class.*folder: name"),
        ("rose:", "empty or odd name"),
        ("rose: {synonyms: [[a]]}", "empty or odd name"),
        ("rsoe: a rose", "has no folder or label.*got 'rsoe'.*did you mean 'rose'"),
        ("rose: a\nrose: b", "given twice"),
        ("rose: dog rose\nRose: cabbage rose", "two things.*got rose, Rose"),
        ("ROSE: {prompt: a}\n'rose ': {prompt: b}", "two things"),
        ("rose: {synonyms: {a: b}}", "synonyms that are no list"),
        ("rose: {synonyms: !!set {a, b}}", "synonyms that are no list"),
        ("rose: {synonyms: [{a: b}]}", "empty or odd name"),
        ("rose: {synonyms: }", "empty or odd name"),
        ("rose: {name: 'a\\u0007b'}", "no bundle can hold"),
        ("rose: [", "cannot be read as YAML"),
    ],
)
def test_a_list_that_says_something_else_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    image_folder(tmp_path)
    (tmp_path / "classes.yaml").write_text(text.replace("'a\\u0007b'", '"a\\u0007b"'), "utf-8")
    with pytest.raises(DataError, match=message):
        source(tmp_path)


def test_an_empty_folder_is_named_by_the_list(tmp_path: Path) -> None:
    fill(tmp_path / "rose", 5)
    fill(tmp_path / "oak", 5, seed=100)
    (tmp_path / "t1").mkdir()
    (tmp_path / "classes.yaml").write_text("t1: {name: tulip, prompt: red tulip}\n", "utf-8")
    listed = source(tmp_path)
    assert listed.names == ("oak", "rose", "tulip") and list(listed.empty) == ["tulip"]
