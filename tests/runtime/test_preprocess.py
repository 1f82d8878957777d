"""Decoding, geometry and normalization: exact, total, and strict about what it accepts."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import SPEC, encoded, photo

from runtime import BundleError, ImageError, PreprocessSpec, decode, geometry, normalize


def spec(size: int = 8, resize: int = 10, interpolation: str = "bilinear") -> PreprocessSpec:
    return PreprocessSpec(size, resize, interpolation, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def test_spec_survives_json() -> None:
    assert PreprocessSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"size": 37}, "resize"),
        ({"resize": 1e3}, "resize"),
        ({"interpolation": "nearest"}, "interpolation"),
        ({"std": [0.1, 0.0, 0.1]}, "std"),
        ({"mean": [0.1, 0.1]}, "mean"),
        ({"mean": [0.1, float("nan"), 0.1]}, "mean"),
        ({"gamma": 2.2}, "gamma"),
    ],
)
def test_bad_spec_names_the_field(change: dict, named: str) -> None:
    with pytest.raises(BundleError, match=named):
        PreprocessSpec.from_json({**SPEC.to_json(), **change})


def test_spec_with_a_missing_field_is_refused() -> None:
    values = SPEC.to_json()
    del values["std"]
    with pytest.raises(BundleError, match="std"):
        PreprocessSpec.from_json(values)


def test_every_input_form_gives_the_same_pixels(tmp_path) -> None:
    image = photo()
    (tmp_path / "a.png").write_bytes(encoded(image))
    forms = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        encoded(image),
        Image.fromarray(image),
        image,
    ]
    for form in forms:
        assert np.array_equal(np.asarray(decode(form)), image)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_every_raster_format_is_decoded(form: str) -> None:
    assert decode(encoded(photo(), form)).size == (48, 40)


def test_exif_orientation_is_applied() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise
    image = Image.fromarray(photo())
    image.save(buffer, "PNG", exif=exif)
    assert np.array_equal(np.asarray(decode(buffer.getvalue())), np.rot90(photo(), -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_becomes_white(mode: str) -> None:
    image = Image.new(mode, (4, 4))
    assert np.asarray(decode(image)).min() == 255


def test_palette_transparency_becomes_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0)
    assert np.asarray(decode(buffer.getvalue())).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_become_rgb(mode: str) -> None:
    assert decode(Image.new(mode, (5, 4))).mode == "RGB"


def test_16_bit_gray_is_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    for form in (buffer.getvalue(), values):
        assert np.asarray(decode(form))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_the_transparent_level_of_16_bit_gray_is_white() -> None:
    values = np.array([[999, 1000, 1001, 65535, 0]], np.uint16)
    for clear, expected in ((1000, [4, 255, 4, 255, 0]), (0, [4, 4, 4, 255, 255])):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "PNG", transparency=clear)
        with Image.open(io.BytesIO(buffer.getvalue())) as image:
            for form in (buffer.getvalue(), image):
                decoded = decode(form)
                assert np.asarray(decoded)[0, :, 0].tolist() == expected and not decoded.info


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_arrays_of_every_image_shape_are_decoded(shape: tuple[int, ...]) -> None:
    assert decode(np.full(shape, 200, np.uint8)).size == (5, 4)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(shape, kind)
        for shape, kind in (((3, 4, 5), "u1"), ((4, 5, 3), "f4"), ((4,), "u1"), ((0, 5, 3), "u1"))
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError):
        decode(array)


def test_bomb_is_refused_before_its_pixels_are_decoded() -> None:
    bomb = encoded(np.zeros((3000, 3000, 3), np.uint8))
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="9,000,000 pixels"):
        decode(bomb, max_pixels=1_000_000)


def test_pillows_own_bomb_limit_is_our_error(monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="too large"):
        decode(encoded(photo()))


def test_sliver_is_refused() -> None:
    with pytest.raises(ImageError, match="narrow"):
        decode(np.zeros((1, 5000, 3), np.uint8))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_truncated_image_is_refused(form: str) -> None:
    data = encoded(photo(size=(200, 180)), form)
    with pytest.raises(ImageError):
        decode(data[: len(data) // 2])


def test_missing_file_text_and_unknown_type(tmp_path) -> None:
    (tmp_path / "note.jpg").write_text("not an image")
    with pytest.raises(ImageError, match="gone.jpg"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="note.jpg is not an image"):
        decode(tmp_path / "note.jpg")
    with pytest.raises(ImageError, match="int"):
        decode(3)  # type: ignore[arg-type]


def test_postscript_is_not_an_image() -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "EPS")
    with pytest.raises(ImageError, match="is not an image"):
        decode(buffer.getvalue())


@pytest.mark.parametrize("size", [(48, 40), (40, 48), (5, 3), (11, 300), (10, 10), (33, 47)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_geometry_is_resize_of_the_shorter_side_and_center_crop(
    size: tuple[int, int], interpolation: str
) -> None:
    """Against the same steps written with float arithmetic, as torchvision does."""
    own = spec(interpolation=interpolation)
    image = Image.fromarray(photo(3, size))
    width, height = size
    scaled = (10, int(10 * height / width)) if width <= height else (int(10 * width / height), 10)
    how = getattr(Image.Resampling, interpolation.upper())
    resized = np.asarray(image.resize((scaled[0], height), how).resize(scaled, how))
    top, left = int(round((scaled[1] - 8) / 2.0)), int(round((scaled[0] - 8) / 2.0))
    assert np.array_equal(geometry(image, own), resized[top : top + 8, left : left + 8])


def test_tall_images_have_the_same_pixels_under_every_pillow() -> None:
    """Hash seen with Pillow 10.0.0, 12.0.0 and 13.0.0; one call of resize gives other pixels from
    13 on.
    """
    y, x, c = np.mgrid[0:260, 0:80, 0:3]
    tall = ((x * 37 + y * y * 11 + c * 91 + x * y) % 256).astype(np.uint8)
    pixels = geometry(Image.fromarray(tall), spec(32, 36, "bicubic"))
    want = "c4f2af9299cdee8c1eb4f7a1d74ce76c8a0f0f0f090f442827ae794b7587292e"
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == want


def test_image_of_the_right_size_is_untouched() -> None:
    own = PreprocessSpec(40, 40, "bicubic", (0, 0, 0), (1, 1, 1))
    assert np.array_equal(geometry(Image.fromarray(photo(0, (40, 40))), own), photo(0, (40, 40)))


def test_normalize_is_the_rounded_formula() -> None:
    own = spec()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    exact = (pixels.astype(np.float64) / 255 - own.mean) / own.std
    assert np.array_equal(normalize(pixels, own), exact.astype(np.float32).transpose(0, 3, 1, 2))
    assert np.array_equal(normalize(pixels[0], own), normalize(pixels, own)[:1])
    assert normalize(pixels[:0], own).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    "pixels", [np.zeros((8, 8, 3)), np.zeros((2, 3, 8, 8), np.uint8), np.zeros((8, 8), np.uint8)]
)
def test_normalize_refuses_other_shapes(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match="pixels"):
        normalize(pixels, spec())
