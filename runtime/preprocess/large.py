"""Pillow's own limit of pixels, raised while we decode for someone who asked for more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

PILLOWS_LIMIT = 1024**3 // 4 // 3  # what Image.MAX_IMAGE_PIXELS is, unless somebody set it


class _Large:
    """Holds ``Image.MAX_IMAGE_PIXELS`` at the highest limit of those that decode.

    The number belongs to the process. One that another library has set is left as it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[int] = []
        self._ours: int | None = None  # what we set, while we do

    def enter(self, max_pixels: int) -> None:
        with self._lock:
            self._asked.append(max_pixels)
            self._set()

    def leave(self, max_pixels: int) -> None:
        with self._lock:
            self._asked.remove(max_pixels)
            self._set()

    def _set(self) -> None:
        if (self._ours or PILLOWS_LIMIT) == Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = max([PILLOWS_LIMIT, *self._asked])
            self._ours = Image.MAX_IMAGE_PIXELS
        if not self._asked:
            self._ours = None


_LARGE = _Large()


@contextmanager
def pixels_up_to(max_pixels: int) -> Iterator[None]:
    """Pillow opens images of that many pixels inside, without a warning; never fewer than else."""
    if max_pixels <= PILLOWS_LIMIT:
        yield
        return
    _LARGE.enter(max_pixels)
    try:
        yield
    finally:
        _LARGE.leave(max_pixels)
