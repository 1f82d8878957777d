"""Files of the generate stage: records and names."""

from __future__ import annotations

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
