"""HEIC is read with pi-heif, and without it the reason is said."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from icc_profiles import P3, rgb_profile
from image_folders import photo
from PIL import Image

from runtime import ImageError, decode
from runtime.preprocess.heif import is_heif_head


def heic(image: Image.Image, **options: object) -> bytes:
    with io.BytesIO() as stream:
        pillow_heif.from_pillow(image).save(stream, quality=90, **options)
        return stream.getvalue()


def test_a_photo_of_a_phone_is_read_upright_and_in_srgb(tmp_path: Path) -> None:
    picture = photo(3, (96, 64))
    (tmp_path / "a.heic").write_bytes(heic(picture))
    read = decode(tmp_path / "a.heic")
    assert read.size == (96, 64)
    assert np.abs(np.asarray(read, int) - np.asarray(picture, int)).mean() < 4
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(heic(picture, exif=exif.tobytes()))
    assert turned.size == (64, 96)
    wide = picture.copy()
    wide.info["icc_profile"] = rgb_profile(P3)
    assert np.abs(np.asarray(decode(heic(wide)), int) - np.asarray(read, int)).mean() > 4


def test_without_pi_heif_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(ImageError, match=r"is HEIC.*pip install 'clip2edge\[heic\]'.*JPEG"):
        decode(heic(photo(3, (96, 64))))


def test_a_damaged_file_is_an_image_error() -> None:
    data = heic(photo(3, (96, 64)))
    for cut in (data[:40], data[: len(data) // 2], data[:24] + bytes(200)):
        with pytest.raises(ImageError):
            decode(cut)
    with pytest.raises(ImageError, match="too large"):
        decode(data, max_pixels=1000)


@pytest.mark.parametrize(
    "head, said",
    [
        (b"\0\0\0\x18ftypheic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf", False),
        (b"\0\0\0\x14ftypqt  ", False),
        (b"", False),
    ],
)
def test_which_files_are_heic(head: bytes, said: bool) -> None:
    assert is_heif_head(head) is said
