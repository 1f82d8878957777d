"""Decoding once or twice, and inputs of every type."""

from __future__ import annotations

import io
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from tiny_bundles import encoded, photo

from runtime import ImageError, decode

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'


def turned(form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, form, exif=exif)
    return buffer.getvalue()


def same(left: Image.Image, right: Image.Image) -> bool:
    return np.array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_decoded_image_is_upright_for_good(form: str, orientation: int) -> None:
    if form == "TIFF" and orientation > 8:
        pytest.skip("libtiff does not write it")
    data = turned(form, orientation)
    once = decode(data)
    with Image.open(io.BytesIO(data)) as stored:
        assert same(once, ImageOps.exif_transpose(stored).convert("RGB"))
    assert same(decode(once), once) and same(decode(once.copy()), once)
    opened = Image.open(io.BytesIO(data))
    assert same(decode(opened), once) and same(decode(opened), once)


def test_an_orientation_in_xmp_is_applied_once() -> None:
    buffer = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    Image.fromarray(photo()).save(buffer, "PNG", pnginfo=info)
    once = decode(buffer.getvalue())
    assert once.size == (40, 48) and same(decode(once), once)


@pytest.mark.parametrize("exif", [b"junk", b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    image = Image.fromarray(photo())
    image.info["exif"] = exif
    assert decode(image).size == image.size and image.info["exif"] == exif


def test_everything_that_holds_an_image_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    data, want = encoded(photo()), Image.fromarray(photo())
    stream = io.BytesIO(data)
    with open(tmp_path / "a.png", "rb") as file:
        for form in (stream, stream, file, bytearray(data), memoryview(data)):
            assert same(decode(form), want)  # type: ignore[arg-type]
    assert same(decode(PurePosixPath(tmp_path / "a.png")), want)
    wide = photo().astype(np.uint16) * 257
    assert same(decode(wide.astype(">u2")), want) and same(decode(wide.astype("<u2")), want)
    assert same(decode(photo()[:, ::-1]), ImageOps.mirror(want))
    assert same(decode(np.ma.masked_array(photo(), mask=False)), want)


WRONG: dict[str, object] = {
    "nothing": None,
    "a number": 3,
    "a null byte": "a\0b",
    "half a surrogate": "\ud800",
    "no name": "",
    "no bytes": b"",
    "a file of text": io.StringIO("text"),
    "an array of no dimension": np.array(3),
    "an array of names": np.array(["a.png"]),
    "an array of objects": np.array([None, "a.png"], object),
    "an array of no rows": np.zeros((0, 4, 3), np.uint8),
    "floats": photo() / 255,
    "truths": photo() > 9,
    "masked pixels": np.ma.masked_array(photo(), mask=photo() > 9),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_image_is_an_image_error(name: str) -> None:
    with pytest.raises(ImageError):
        decode(WRONG[name])  # type: ignore[arg-type]


def test_a_wrong_transparency_is_an_image_error() -> None:
    image = Image.fromarray(photo())
    image.info["transparency"] = b"\1\2"
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(image)


def test_a_closed_file_is_an_image_error() -> None:
    stream = io.BytesIO(encoded(photo()))
    stream.close()
    with pytest.raises(ImageError, match="cannot be read"):
        decode(stream)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_and_nobody_waits(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "photo.jpg"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place = Path(os.devnull)
    with pytest.raises(ImageError, match="cannot open.*not a regular file"):
        decode(place)
