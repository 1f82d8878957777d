"""A table of labels that cannot be used, or not in whole, is refused or told, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill

from compress.data.sources import open_source
from compress.data.split import Source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError

LABELS = ["rose"] * 5 + ["tulip"] * 5


def source(path: Path) -> Source:
    return open_source(DataSettings(dataset=None, path=path, shots=1))


def put(file: Path, *lines: str) -> None:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


EMPTY = {
    "only names": ("file_name,label\n", "labels.csv has no rows.*got only: file_name, label"),
    "no files": ("file_name,label\n,rose\n", "labels.csv has no rows that name a file"),
    "nothing": ("", "labels.csv is an empty table.*nothing in it"),
    "blanks": ("\ufeff\n , \n", "labels.csv is an empty table.*blanks"),
}


@pytest.mark.parametrize("text, message", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("where", ["", "train"])
def test_a_table_without_rows_is_refused(
    tmp_path: Path, text: str, message: str, where: str
) -> None:
    for folder in ("batch_1", "batch_2"):
        fill(tmp_path / where / folder, 3, seed=ord(folder[-1]))
    (tmp_path / where / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"{message}.*write the table again, or remove the file"):
        source(tmp_path)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        fill(tmp_path / folder, 3, seed=ord(folder))
    (tmp_path / "labels.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"labels\.csv cannot be read"):
        source(tmp_path)


STRAY = {
    "not closed": ('{0}001.jpg,"rose,train', "a quote that is not closed.*line 3: .*001.jpg"),
    "after a blank": ('{0}001.jpg, "rose,train', "a quote that is not closed.*line 3"),
    "of a file": ('"{0}001.jpg,rose,train', "a quote that is not closed.*line 3"),
    "of a split": ('{0}001.jpg,rose,"train', "a quote that is not closed.*line 3"),
    "closed later": ('{0}001.jpg,"rose,train\n{0}002.jpg,rose",train', "break in a label.*line 3"),
    "file and file": ('"{0}001.jpg,rose\n{0}002.jpg",rose,train', "line break in a file.*line 3"),
    "two": ('{0}001.jpg,"rose,train\n{0}002.jpg,"rose",train', "a quote inside of a cell.*line 3"),
    "caption": ('{0}001.jpg,rose,,"a\n{0}002.jpg,rose,train,b"', "cell with rows in it.*line 3"),
    "behind": (
        '{0}001.jpg,rose",train',
        'differs from another by a quote.*line 3: rose", and rose',
    ),
}


@pytest.mark.parametrize("text, message", STRAY.values(), ids=STRAY)
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "metadata.csv"])
def test_a_stray_quote_is_refused_with_its_line(
    tmp_path: Path, text: str, message: str, name: str
) -> None:
    fill(tmp_path / "img", 10)
    separator = {"labels.tsv": "\t", "metadata.csv": ";"}.get(name, ",")
    rows = [f"img/{i:03d}.jpg,{label},train,c" for i, label in enumerate(LABELS)]
    rows[1] = text.format("img/")
    lines = "\n".join(["file_name,label,split,text", *rows[:2], *rows[3:]])
    put(tmp_path / name, lines.replace(",", separator))
    with pytest.raises(DataError, match=f"{name} has .*{message}"):
        source(tmp_path)


def test_line_breaks_in_captions_and_around_names_are_none_in_names(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    rows = [f'"{i:03d}.jpg\n","{name}\n","a\n""b"", of 7.jpg, c"' for i, name in enumerate(LABELS)]
    put(tmp_path / "labels.csv", "file_name,label,text", *rows)
    assert source(tmp_path).names == ("rose", "tulip")


def test_a_line_break_in_json_is_refused_with_its_line(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    put(tmp_path / "labels.jsonl", "", '{"file": "000.jpg", "label": "rose\\nred"}')
    with pytest.raises(DataError, match="line break in a label.*line 2: 000.jpg, rose red"):
        source(tmp_path)


def test_rows_without_files_and_with_too_many_cells_are_told(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    rows = [f"{i:03d}.jpg,{name}," for i, name in enumerate(LABELS)]
    put(tmp_path / "labels.csv", "file_name,label", *rows, ",rose", "000.jpg,rose, red")
    notes = source(tmp_path).notes
    assert "1 rows of labels.csv name no file, e.g. line 12" in notes
    more = "1 rows of labels.csv have more cells than there are columns, e.g. line 13"
    assert more in notes
