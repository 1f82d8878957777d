"""Color profiles become sRGB, and sRGB stays as it is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from icc_profiles import ADOBE, P3, PROPHOTO, SRGB, cmyk_profile, gray_profile, rgb_profile, to_srgb
from PIL import Image, ImageCms
from PIL._util import DeferredError

from runtime import ImageError, decode


def colors() -> np.ndarray:
    levels = np.linspace(0, 255, 6).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(12, 18, 3)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    with io.BytesIO() as stream:
        image.save(stream, kind, **options)
        return stream.getvalue()


@pytest.mark.parametrize(
    "name, colorants, gamma",
    [("Adobe RGB", ADOBE, 2.19921875), ("Display P3", P3, 2.2), ("ProPhoto", PROPHOTO, 1.8)],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_pixels_of_a_wide_profile_are_converted(name, colorants, gamma, kind) -> None:
    profile = rgb_profile(colorants, gamma)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(colors()), kind, icc_profile=profile, **options)
    converted = np.asarray(decode(data), float)
    # LittleCMS rounds its curves to 8 bits where they are steep, near black
    assert np.abs(converted - to_srgb(colors(), colorants, gamma)).mean() < 0.7, name
    assert np.abs(converted - colors()).max() > 20, "it is not the identity"
    once = decode(data)
    assert "icc_profile" not in once.info and np.array_equal(np.asarray(decode(once)), once)


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        rgb_profile(SRGB, None),
        b"",
        b"no profile at all",
        rgb_profile(ADOBE)[:200],
        gray_profile(),
        cmyk_profile(),
    ],
    ids=["Pillow's sRGB", "sRGB by another name", "none", "junk", "cut", "gray's", "CMYK's"],
)
def test_what_is_srgb_or_no_profile_of_these_pixels_changes_nothing(profile: bytes) -> None:
    image = Image.fromarray(colors())
    image.info["icc_profile"] = profile
    assert np.array_equal(np.asarray(decode(image)), colors())


def test_gray_and_cmyk_profiles_are_used() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    linear = np.asarray(decode(saved(ramp, icc_profile=gray_profile(1.0))), int)[..., 0]
    light = np.arange(256).reshape(16, 16) / 255
    wanted = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert (
        np.abs(linear - wanted).mean() < 0.7
        and np.abs(linear - np.arange(256).reshape(16, 16)).max() > 50
    )
    inks = Image.fromarray(colors()).convert("CMYK")
    plain = np.asarray(decode(saved(inks, "TIFF")), int)
    managed = np.asarray(decode(saved(inks, "TIFF", icc_profile=cmyk_profile())), int)
    assert np.array_equal(plain, np.asarray(inks.convert("RGB"))), "no profile: as before"
    assert np.abs(managed - plain).mean() > 10
    white = Image.new("CMYK", (4, 4))
    assert np.asarray(decode(saved(white, "TIFF", icc_profile=cmyk_profile()))).min() > 250


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "I;16"])
def test_modes_that_hold_more_than_color_are_converted_too(mode: str) -> None:
    image = Image.fromarray(colors())
    if mode == "RGBA":
        image.putalpha(
            Image.fromarray(
                np.repeat(np.uint8([[0], [255]]), (1, 11), 0) + np.zeros((1, 18), np.uint8)
            )
        )
    elif mode == "P":
        image = image.quantize(64)
    elif mode == "LA":
        image = image.convert("LA")
    else:
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    profile = rgb_profile(ADOBE) if mode in ("RGBA", "P") else gray_profile(1.0)
    plain = np.asarray(decode(saved(image)), int)
    managed = np.asarray(decode(saved(image, icc_profile=profile)), int)
    assert managed.shape == (12, 18, 3) and np.abs(managed - plain).max() > 20
    if mode == "RGBA":
        assert (managed[0] == 255).all(), "transparency stays on white"


def test_a_pillow_without_littlecms_says_so_unless_the_profile_is_srgb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageCms, "core", DeferredError(ImportError("no _imagingcms")))
    image = Image.fromarray(colors())
    image.info["icc_profile"] = rgb_profile(PROPHOTO, 1.75)
    with pytest.raises(ImageError, match="color profile.*LittleCMS"):
        decode(image)
    image.info["icc_profile"] = b"sRGB IEC61966-2.1"
    assert np.array_equal(np.asarray(decode(image)), colors())
