"""A switch of Pillow that other libraries set changes no answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import ImageFile
from tiny_bundles import encoded, photo

from runtime import ImageError, decode
from runtime.preprocess.strict import strict


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_truncated_file_is_refused_all_the_same(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(photo(size=(300, 200)), form)
    for allowed in (False, True):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", allowed)
        with pytest.raises(ImageError):
            decode(data[: len(data) // 2])
        assert decode(data).size == (300, 200)
        assert allowed == ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_share_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cut = encoded(photo(size=(300, 200)), "JPEG")[:3000]
    stop = threading.Event()

    def turn_on() -> None:
        while not stop.is_set():
            ImageFile.LOAD_TRUNCATED_IMAGES = True

    def is_refused(_: int) -> bool:
        try:
            decode(cut)
        except ImageError:
            return True
        return False

    other = threading.Thread(target=turn_on)
    other.start()
    with ThreadPoolExecutor(4) as pool:
        refused = list(pool.map(is_refused, range(200)))
    stop.set()
    other.join()
    assert all(refused) and ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_whoever_turns_it_on_meanwhile_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    with strict() as quiet:
        pass
    with strict() as disturbed, strict() as inner:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
    assert quiet == [True] and disturbed == inner == [False]
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
