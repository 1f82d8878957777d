"""What quantization changed, in words: nothing is claimed that the paired tests do not carry."""

from __future__ import annotations

import numpy as np
from report_parts import report_with

from compress.data.artifact import ImageSet
from compress.evaluate.changes import changes
from compress.report.charts.pictures import TURNED, turned
from compress.report.model.report import Report
from compress.report.sections import changes as changed

NAMES = ("rose", "tulip", "poppy")


def report(after: list[int], before: list[int], labels: list[int]) -> Report:
    eye = np.eye(len(NAMES), dtype=np.float32) * 5
    keys = [f"{i:03d}.png" for i in range(len(labels))]
    found = changes(
        ("student_int8", eye[after]), ("student_fp32", eye[before]), np.array(labels), NAMES, keys
    )
    plain = found.plain()
    return report_with(changes={"int8_vs_fp32": plain, "int8_vs_teacher": plain})


def test_a_class_that_fell_is_named_as_significant() -> None:
    labels = [0] * 20 + [1] * 20 + [2] * 20
    after = [0] * 20 + [2] * 20 + [2] * 19 + [0]
    found = report(after, labels, labels)
    sentence = changed.change_sentence(found)
    assert (
        "2 of 3 classes lost and 0 gained" in sentence
        and "Significantly" in sentence
        and sentence.endswith("tulip lost.")
    )
    rows = changed.losers(found, "int8_vs_fp32")
    significant = [(row.name, row.p_holm <= changed.LEVEL) for row in rows]
    assert significant == [("tulip", True), ("poppy", False)]
    assert rows[0].difference == -1.0 and rows[0].p_holm < 0.001
    assert "turned 21 from right to wrong and 0 from wrong to right" in changed.flip_sentence(found)


def test_a_few_flips_prove_nothing() -> None:
    labels = [0] * 5 + [1] * 5 + [2] * 5
    sentence = changed.change_sentence(report([1] * 2 + labels[2:], labels, labels))
    assert "No single class changed significantly" in sentence
    assert (
        "7 images of one class would have to turn the same way, and some classes have only 5"
        in sentence
    )


def test_without_changes_there_are_no_rows_and_no_claims() -> None:
    labels = [0, 1, 2]
    found = report(labels, labels, labels)
    assert changed.losers(
        found, "int8_vs_fp32"
    ) == [] and "No test image turned" in changed.flip_sentence(found)
    empty = report_with()
    assert changed.losers(empty, "int8_vs_fp32") == []
    sentences = (changed.change_sentence, changed.teacher_sentence, changed.flip_sentence)
    assert not any(write(empty) for write in sentences), "without test images nothing is claimed"


def test_turned_images_are_found_by_their_key_and_bounded() -> None:
    labels = [0] * (TURNED + 5)
    flips = report([1] * len(labels), labels, labels).changes["int8_vs_fp32"].right_to_wrong
    images = np.zeros((len(labels), 8, 8, 3), np.uint8)
    keys = tuple(f"{i:03d}.png" for i in range(len(labels)))[::-1]
    found = turned(flips, ImageSet(images, np.array(labels), keys))
    flip = found[0].flip
    assert len(found) == TURNED and (flip.true, flip.before, flip.after) == (
        "rose",
        "rose",
        "tulip",
    )
    assert "int8 tulip" in found[0].picture.alt
    other = ImageSet(images[:1], np.array([0]), ("other.png",))
    assert turned(flips, other) == [], "an image that is not there is not shown"
