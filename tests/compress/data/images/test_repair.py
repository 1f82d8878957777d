"""JPEG files that lack their end are mended for training, and never in the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_folders import grainy, saved

from compress.data.images.jpeg_scans import scans_of
from compress.data.images.repair import END, mended
from compress.data.split import Split
from runtime import ImageError, decode

WHOLE = 10**8


def cut(path: Path, data: bytes, lost: int) -> Path:
    path.write_bytes(data[:-lost])
    return path


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("lost", [1, 2, 40])
def test_a_missing_end_is_added(tmp_path: Path, options: dict, mode: str, lost: int) -> None:
    picture = grainy(1).convert(mode)
    data = saved(picture, **options)
    path = cut(tmp_path / "a.jpg", data, lost)
    with pytest.raises(ImageError):
        decode(path)
    whole = mended(path, WHOLE)
    assert whole is not None and whole[1].startswith("truncated: ")
    kept = decode(data), decode(whole[0])
    rows = [np.asarray(image, int)[:56] for image in kept]
    assert np.abs(rows[0] - rows[1]).mean() < 8
    split = Split(np.zeros(1, np.int64), ("a",), [path].__getitem__)
    read, why = split.read(0)
    assert why == whole[1] and read.size == picture.size
    with pytest.raises(ImageError):  # a device and a test set answer about whole pictures only
        split.image(0)


def test_a_white_background_is_not_missing(tmp_path: Path) -> None:
    picture = grainy(1)
    picture.paste((255, 255, 255), (0, 30, 96, 80))
    whole = mended(cut(tmp_path / "a.jpg", saved(picture), 2), WHOLE)
    assert whole is not None and whole[1] == "truncated: no row is lost"


def test_half_a_picture_is_not_used(tmp_path: Path) -> None:
    data = saved(grainy(1))
    assert mended(cut(tmp_path / "a.jpg", data, len(data) // 2), WHOLE) is None
    assert mended(cut(tmp_path / "b.jpg", data, len(data) - 100), WHOLE) is None
    (tmp_path / "c.jpg").write_bytes(b"")
    assert (
        mended(tmp_path / "c.jpg", WHOLE) is None and mended(tmp_path / "gone.jpg", WHOLE) is None
    )
    assert mended(cut(tmp_path / "d.png", saved(grainy(1), "PNG"), 40), WHOLE) is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_file_needs_all_its_scans(tmp_path: Path, mode: str) -> None:
    data = saved(grainy(1, (320, 240)).convert(mode), progressive=True, quality=90)
    scans = scans_of(data).scans
    assert len(scans) > 5 and scans[-1].refines
    for share in (0.1, 0.25, 0.3, 0.4, 0.5):
        lost = len(data) - int(share * len(data))
        assert mended(cut(tmp_path / "a.jpg", data, lost), WHOLE) is None
    whole = mended(cut(tmp_path / "b.jpg", data, (len(data) - scans[-1].start) // 2), WHOLE)
    assert whole is not None and whole[1] == "truncated: some fine detail is lost, but no row"
    pixels = [np.asarray(decode(each), int) for each in (whole[0], data)]
    assert np.abs(pixels[0] - pixels[1]).mean() < 8


def spectral(data: bytes) -> bytes:
    """A progressive gray file without refinement: its first three scans bring all bits."""
    scans = scans_of(data).scans
    short = bytearray(data[: scans[3].start] + END)
    for scan in scans[:3]:
        short[scan.start + 9] = 0
    return bytes(short)


def test_what_the_last_scan_does_not_reach_counts_as_missing(tmp_path: Path) -> None:
    data = spectral(saved(grainy(1, (320, 240)).convert("L"), progressive=True))
    scans = scans_of(data).scans
    assert len(scans) == 3 and scans_of(data).is_whole and not scans[-1].refines
    size = len(data) - scans[-1].start
    whole = mended(cut(tmp_path / "a.jpg", data, size // 10), WHOLE)
    assert whole is not None and "of 240 rows are coarse" in whole[1]
    assert mended(cut(tmp_path / "b.jpg", data, size // 2), WHOLE) is None
    assert mended(cut(tmp_path / "c.jpg", data, size + 50), WHOLE) is None


def test_a_huge_picture_is_not_mended(tmp_path: Path) -> None:
    assert mended(cut(tmp_path / "a.jpg", saved(grainy(1)), 2), max_pixels=1000) is None
