"""Images of the end-to-end rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundles import encoded, photo

from runtime import ImageError
from runtime.bench.latency import END_TO_END
from runtime.bench.photos import photos
from runtime.bench.run import bench


def test_images_of_the_user(bundle: Path, tmp_path: Path) -> None:
    from runtime.bundle import open_bundle

    opened = open_bundle(bundle)
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(encoded(photo(index), "JPEG"))
    (tmp_path / "notes.txt").write_text("no image")
    found, about = photos(opened, tmp_path)
    assert len(found) == 3 and about.startswith("3 images, the first 48 x 40 JPEG")
    one, about = photos(opened, tmp_path / "1.jpg")
    assert one == [found[1]] and "JPEG" in about
    row = bench(bundle, ["int8"], seconds=0.05, threads=1, images=tmp_path).rows[-1]
    assert row.includes == END_TO_END and row.image is not None and row.image.startswith("3 images")
    (tmp_path / "4.png").write_bytes(b"no png")
    with pytest.raises(ImageError, match=r"4\.png"):
        photos(opened, tmp_path)
    skipped: list[str] = []
    assert len(photos(opened, tmp_path, skipped.append)[0]) == 3 and "4.png" in skipped[0]
    measured = bench(bundle, ["int8"], seconds=0.05, threads=1, images=tmp_path)
    assert any("4.png" in state for state in measured.states)
    with pytest.raises(ImageError, match=r"4\.png"):
        photos(opened, tmp_path / "4.png", skipped.append)
    with pytest.raises(ImageError, match="no image in"):
        photos(opened, (tmp_path / "empty").mkdir() or tmp_path / "empty")


def test_the_golden_image_is_shown_as_jpeg(bundle: Path) -> None:
    from runtime.bundle import open_bundle

    (data,), about = photos(open_bundle(bundle))
    assert data[:2] == b"\xff\xd8" and about.endswith("made of a golden image"), (
        "the golden image of this one is a PNG"
    )
