"""A PNG with more text than Pillow takes is read all the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from image_folders import photo
from PIL import Image, PngImagePlugin

from runtime import ImageError, decode
from runtime.preprocess.png_text import without_texts


def with_text(kind: str, size: int) -> bytes:
    info = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        info.add_itxt("Comment", "x" * size, zip=True)
    else:
        info.add_text("parameters", "x" * size, zip=kind == "zTXt")
    with io.BytesIO() as stream:
        photo(2, (40, 30)).save(stream, "PNG", pnginfo=info)
        return stream.getvalue()


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
@pytest.mark.parametrize("size", [100, 3_000_000, 80_000_000])
def test_texts_of_any_size_change_no_pixel(kind: str, size: int) -> None:
    assert np.array_equal(decode(with_text(kind, size)), photo(2, (40, 30)))


def test_a_damaged_picture_stays_damaged_and_an_orientation_stays() -> None:
    data = with_text("zTXt", 3_000_000)
    with pytest.raises(ImageError):
        decode(data[:-60])
    lean = without_texts(io.BytesIO(data))
    assert lean is not None and len(lean) < len(data) and lean.endswith(data[-12:])
    assert without_texts(io.BytesIO(with_text("tEXt", 10))) is None
    assert without_texts(io.BytesIO(b"\xff\xd8\xff")) is None
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * 3_000_000, zip=True)
    with io.BytesIO() as stream:
        photo(2, (40, 30)).save(stream, "PNG", pnginfo=info, exif=exif)
        assert decode(stream.getvalue()).size == (30, 40)
