"""Hits among the photos of a folder, by label."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny_bundles import class_photos, growing_bundle

from runtime import Classifier
from runtime.errors import ImageError
from runtime.learning.accuracy import Hits, hits, labeled_photos


def test_hits_are_those_of_predict(tmp_path: Path) -> None:
    model = Classifier.load(growing_bundle(tmp_path / "bundle", tmp_path), "fp32", threads=1)
    for at, name in enumerate(("Rose", "iris", "tulip", "unknown")):
        class_photos(tmp_path / "test" / name, 5, 10 * at, at % 3)
    (tmp_path / "test" / "iris" / "bad.png").write_bytes(b"no image")
    photos = labeled_photos(tmp_path / "test", (*model.labels, "new"))
    assert list(photos) == ["rose", "iris", "tulip"]
    refused: dict[str, str] = {}
    found = hits(model, {**photos, "new": photos["rose"]}, refused)
    for label in photos:
        readable = [file for file in photos[label] if file.name != "bad.png"]
        want = [model.predict(file, top_k=1)[0].label == label for file in readable]
        assert found[label] == Hits(sum(want), len(readable))
    assert sum(one.right for one in found.values()) > 0
    assert found["new"] == Hits(0, 5)  # a label that the model lacks
    assert [Path(file).name for file in refused] == ["bad.png"]


def test_hits_add_up_and_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    assert Hits(1, 2) + Hits(2, 2) == Hits(3, 4) and Hits(3, 4).share == 0.75
    assert math.isnan(Hits(0, 0).share)
    class_photos(tmp_path / "tests" / "other", 1)
    for folder in (tmp_path / "tests", tmp_path / "gone"):
        with pytest.raises(ImageError, match="nothing to test on"):
            labeled_photos(folder, ("rose",))
