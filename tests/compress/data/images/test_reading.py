"""Images are read on threads in order; the reason of what cannot be read names no path."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from image_folders import encoded, grainy, saved

from compress.data.artifact import DataArtifact
from compress.data.images.reading import ImageReader, reason_of
from compress.data.images.unreadable import Unreadable
from compress.data.split import Split
from runtime import ImageError
from runtime.preprocess import Geometry

SPEC = Geometry(12, 16, "bicubic")


def test_the_order_is_that_of_the_indices(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(number))
    (tmp_path / "3.jpg").write_bytes(b"no image")
    (tmp_path / "5.jpg").write_bytes(saved(grainy(0))[:-30])
    keys = tuple(f"{number}.jpg" for number in range(20))
    split = Split(np.zeros(20, np.int64), keys, [tmp_path / key for key in keys].__getitem__)
    with ThreadPoolExecutor(4) as threads:
        unreadable = Unreadable(DataArtifact(tmp_path))
        read = ImageReader(split, SPEC, SPEC, threads, unreadable, mends=True)
        images = read([19, 3, 5, 0])
        again = read([0])
    assert images[1] is None and [row["key"] for row in unreadable.rows] == ["3.jpg"]
    assert list(read.repaired) == ["5.jpg"]
    first, last = images[0], images[3]
    assert first is not None and last is not None and again[0] is not None
    assert first.digest != last.digest == again[0].digest
    assert first.pixels.shape == (12, 12, 3)


def test_only_a_reader_for_training_mends(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(saved(grainy(0))[:-30])
    split = Split(np.zeros(1, np.int64), ("0.jpg",), [tmp_path / "0.jpg"].__getitem__)
    with ThreadPoolExecutor(1) as threads:
        unreadable = Unreadable(DataArtifact(tmp_path))
        read = ImageReader(split, SPEC, SPEC, threads, unreadable)
        assert read([0]) == [None] and not read.repaired
    assert "truncated" in unreadable.rows[0]["reason"]


def test_a_reason_names_no_path_and_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("<html>404</html>", encoding="utf-8")
    reason = reason_of(ImageError(f"{path} is not an image"), path)
    assert str(tmp_path) not in reason and "the download failed" in reason
    assert reason_of(ImageError("array is not an image"), np.zeros(3)) == "array is not an image"
