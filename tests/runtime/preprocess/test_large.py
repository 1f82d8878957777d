"""Who asks for more pixels than Pillow opens gets them; another library's limit holds."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from tiny_bundles import encoded, photo

from runtime import ImageError, decode
from runtime.preprocess import large

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
FORMS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pillow's limit as if it were 100 pixels: real ones above it take a gigabyte."""
    monkeypatch.setattr(large, "PILLOWS_LIMIT", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    return 100


@pytest.mark.parametrize("form", FORMS)
def test_a_higher_limit_holds_above_pillows(form: str, small_limit: int) -> None:
    data = encoded(photo(size=(40, 30)), form)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data, max_pixels=1200).size == (40, 30)
    assert small_limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match="too large.*at most 1,199"):
        decode(data, max_pixels=1199)
    with pytest.raises(ImageError, match="too large.*at most 100"):
        decode(data, max_pixels=100)
    assert small_limit == Image.MAX_IMAGE_PIXELS


def test_another_librarys_lower_limit_holds_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ImageError, match="too large.*got 1,200 pixels.*at most 100 pixels.*raise"):
        decode(encoded(photo(size=(40, 30))), max_pixels=10**9)
    assert Image.MAX_IMAGE_PIXELS == 50


def test_a_limit_that_is_set_meanwhile_stays(small_limit: int) -> None:
    with large.pixels_up_to(1000):
        Image.MAX_IMAGE_PIXELS = 70
    assert Image.MAX_IMAGE_PIXELS == 70
    Image.MAX_IMAGE_PIXELS = 100
    with large.pixels_up_to(1000), large.pixels_up_to(2000):
        assert Image.MAX_IMAGE_PIXELS == 2000
    assert small_limit == Image.MAX_IMAGE_PIXELS


def test_threads_share_the_limit(small_limit: int) -> None:
    data = encoded(photo(size=(40, 30)))

    def is_right(limit: int) -> bool:
        try:
            return decode(data, max_pixels=limit).size == (40, 30) and limit >= 1200
        except ImageError:
            return limit < 1200

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(is_right, [1200, 500, 1100, 5000] * 50))
    assert small_limit == Image.MAX_IMAGE_PIXELS
