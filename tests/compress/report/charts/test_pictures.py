"""Thumbnails: bounded in number and size, and the right ones."""

from __future__ import annotations

import numpy as np
import pytest

from compress.data.artifact import ImageSet
from compress.report.charts import pictures


@pytest.mark.parametrize(("edge", "classes"), [(32, 40), (256, 102)])
def test_pictures_stay_small_even_for_noise(edge: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(classes), 10)
    noise = rng.integers(0, 256, (12, edge, edge, 3), np.uint8)
    images = noise[np.arange(len(labels)) % 12]
    shots = ImageSet(images, labels, tuple(map(str, range(len(labels)))))
    sheets = pictures.contact_sheets([f"c{i}" for i in range(classes)], shots, images, labels)
    assert (
        len(sheets) == pictures.SHEET_CLASSES
        and sheets[0].name == "c0"
        and sheets[-1].name == f"c{classes - 1}"
    )
    assert all(
        sheet.real and sheet.real.count == 4 and sheet.synthetic and sheet.synthetic.count == 8
        for sheet in sheets
    )
    total = sum(len(part.uri) for sheet in sheets for part in (sheet.real, sheet.synthetic) if part)
    assert total < 2_000_000


def test_no_shots_means_no_picture() -> None:
    empty, some = np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)
    shots = ImageSet(empty, np.zeros(0, int), ())
    sheets = pictures.contact_sheets(["a", "b"], shots, some, np.arange(2))
    assert sheets[0].real is None and sheets[0].synthetic is not None
    assert pictures.contact_sheets(["a", "b"], shots, empty, np.zeros(0, int)) == []


def test_worst_mistakes_are_the_most_confident_ones() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.99, 0.01]])
    images = np.zeros((4, 8, 8, 3), np.uint8)
    tests = ImageSet(images, np.array([1, 0, 0, 0]), ("w", "x", "y", "z"))
    found = pictures.worst_mistakes(["a", "b"], tests, probabilities, np.array([1, 1, 0, 0]))
    assert [(m.key, m.true, m.predicted, m.teacher) for m in found] == [
        ("w", "b", "a", "b"),
        ("x", "a", "b", "b"),
        ("y", "a", "b", "a"),
    ]
