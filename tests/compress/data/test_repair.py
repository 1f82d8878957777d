"""JPEG files that lack their end are mended for training, and never in the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_folders import grainy, saved

from compress.data.repair import mended
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
    assert whole is not None and whole[1].startswith("cut short: ")
    kept = decode(data), decode(whole[0])
    rows = [np.asarray(image, int)[:56] for image in kept]
    assert np.abs(rows[0] - rows[1]).mean() < 8
    split = Split(np.zeros(1, np.int64), ("a",), [path].__getitem__)
    assert split.read(0)[1] == whole[1] and split.image(0).size == picture.size


def test_a_white_background_is_not_missing(tmp_path: Path) -> None:
    picture = grainy(1)
    picture.paste((255, 255, 255), (0, 30, 96, 80))
    whole = mended(cut(tmp_path / "a.jpg", saved(picture), 2), WHOLE)
    assert whole is not None and whole[1] == "cut short: no row is lost"


def test_half_a_picture_is_not_used(tmp_path: Path) -> None:
    data = saved(grainy(1))
    assert mended(cut(tmp_path / "a.jpg", data, len(data) // 2), WHOLE) is None
    assert mended(cut(tmp_path / "b.jpg", data, len(data) - 100), WHOLE) is None
    (tmp_path / "c.jpg").write_bytes(b"")
    assert (
        mended(tmp_path / "c.jpg", WHOLE) is None and mended(tmp_path / "gone.jpg", WHOLE) is None
    )
    assert mended(cut(tmp_path / "d.png", saved(grainy(1), "PNG"), 40), WHOLE) is None


def test_a_huge_picture_is_not_mended(tmp_path: Path) -> None:
    assert mended(cut(tmp_path / "a.jpg", saved(grainy(1)), 2), max_pixels=1000) is None
