"""Frames of a Raspberry Pi's ribbon camera, through picamera2 (libcamera)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from runtime.errors import BackendError

PACKAGE = "python3-picamera2"
SIZE = (640, 480)  # of a frame; the crop of a classifier is smaller
FORMAT = "BGR888"  # libcamera names the bytes of a word: in memory red comes first


@contextmanager
def pi_frames(number: int = 0) -> Iterator[Iterator[np.ndarray]]:
    """Frames of camera ``number``, uint8 (480, 640, 3), R G B; closed afterwards.

    A frame is never older than the call that asks for it.

    Raises: BackendError: picamera2 is absent, or there is no such camera, or it is in use.
    """
    camera = _open(number)
    try:
        yield _read(camera, number)
    finally:
        camera.stop()
        camera.close()


def _open(number: int) -> Any:
    kind = _picamera2()
    try:
        camera = kind(number)
    except (IndexError, RuntimeError) as error:  # no such camera; another program has it
        raise _gives_nothing(number, error) from error
    try:
        main = {"size": SIZE, "format": FORMAT}
        camera.configure(camera.create_video_configuration(main=main, queue=False))
        camera.start()
    except RuntimeError as error:
        camera.close()
        raise _gives_nothing(number, error) from error
    return camera


def _read(camera: Any, number: int) -> Iterator[np.ndarray]:
    while True:
        try:
            frame = camera.capture_array("main")
        except (RuntimeError, TimeoutError) as error:  # unplugged
            raise _gives_nothing(number, error) from error
        yield np.ascontiguousarray(frame)


def _gives_nothing(number: int, error: Exception) -> BackendError:
    remedy = "rpicam-hello --list-cameras; is its cable in, and does no other program use it?"
    return BackendError(f"Pi camera {number} gives no frames", got=str(error)[:200], remedy=remedy)


def _picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except (ImportError, ValueError) as error:  # ValueError: built for another numpy
        remedy = f"sudo apt install -y {PACKAGE}; a venv needs --system-site-packages"
        what = "frames of a Pi camera need picamera2"
        raise BackendError(what, got=str(error)[:200], remedy=remedy) from error
    return Picamera2
