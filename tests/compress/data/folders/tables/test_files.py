"""Names in tables that lead to files in another case, to none, and files that no row names."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import encoded, fill

from compress.data.sources import open_source
from compress.data.split import Source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError


def source(path: Path) -> Source:
    return open_source(DataSettings(dataset=None, path=path, shots=2))


def test_names_in_another_case_are_found_where_only_one_fits(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    rows = [f"{number:03d}.jpg,{'rose' if number < 5 else 'tulip'}" for number in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["file_name,label", *rows]), encoding="utf-8")
    for file in sorted(tmp_path.glob("*.jpg"))[:4]:
        file.rename(file.with_suffix(".JPG"))
    read = source(tmp_path)
    assert len(read.train) + len(read.test) == 10
    assert "4 rows name files in another case, e.g. 000.jpg" in read.notes
    (tmp_path / "000.Jpg").write_bytes(encoded(77))
    read = source(tmp_path)
    assert read.facts is not None and [row["key"] for row in read.facts.missing] == ["000.jpg"]


def test_class_folders_that_a_table_leaves_out_are_not_lost(tmp_path: Path) -> None:
    for number, name in enumerate(("rose", "tulip", "oak")):
        fill(tmp_path / name, 5, seed=100 * number)
    rows = [f"{name}/00{n}.jpg,{name}" for name in ("rose", "tulip") for n in range(5)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file_name,label", *rows]), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"some class folders only · got no row for oak/ \(5 images"
    ):
        source(tmp_path)
    table.write_text(
        "\n".join(["file_name,label", *rows]).replace(",tulip", ",x"), encoding="utf-8"
    )
    note = "5 images that labels.csv gives no label are left out, all of oak/: oak/000.jpg"
    read = source(tmp_path)
    assert note in read.notes and not any("no images of a class" in one for one in read.notes)
    assert read.facts is not None and len(read.facts.left_out) == 5
