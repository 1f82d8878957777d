"""Files of the generate stage: records and names."""

from __future__ import annotations

import re

import pytest

from compress.generate.artifact import SyntheticRecord, sheet_names


def test_a_record_survives_its_line_of_json() -> None:
    record = SyntheticRecord(
        "synthetic.npy#3", 1, "inversion", 7, "pixels", source_ids=("a", "b"), loss=(2.0, 1.0)
    )
    assert SyntheticRecord.from_line(record.line()) == record


def test_a_record_has_every_field_in_its_line() -> None:
    assert SyntheticRecord("synthetic.npy#0", 0, "cls2img", 1, "echo").line() == (
        '{"class_id": 0, "cond_embedding_ref": null, "generator_id": "echo", "loss": null, '
        '"method": "cls2img", "noise_level": null, "path": "synthetic.npy#0", "prompt": null, '
        '"seed": 1, "source_ids": [], "style_id": null, "weights": []}'
    )


def test_sheets_of_classes_with_equal_names_are_numbered() -> None:
    assert sheet_names(["Water lily", "water-lily", "ばら", "oak"]) == [
        "sheet_water_lily_0.png",
        "sheet_water_lily_1.png",
        "sheet_class.png",
        "sheet_oak.png",
    ]


@pytest.mark.parametrize(
    "classes",
    [
        ["rose", "rose 2", "rose!"],
        ["a", "a", "a 1", "a_1"],
        ["x" * 250, "x" * 251, "y"],
        ["con", "CON.", "nul", "Rose", "rose"],
        ["ばら", "百合", "../../etc/passwd", "a/b", ".."],
    ],
)
def test_sheets_have_names_that_any_file_system_takes(classes: list[str]) -> None:
    names = sheet_names(classes)
    assert len({name.casefold() for name in names}) == len(classes)
    assert all(re.fullmatch(r"sheet_[0-9a-z_]+\.png", name) for name in names)
    assert max(map(len, names)) <= 120
