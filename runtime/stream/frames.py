"""Frames of a camera, of a video file, or of a folder of images in the order of their names.

Cameras and videos need OpenCV, a Raspberry Pi's ribbon camera needs picamera2: they are imported
when the first frame is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import BackendError, ImageError
from runtime.files.paths import name_of
from runtime.preprocess import ImageLike
from runtime.preprocess.image_files import images_below
from runtime.stream.picamera import pi_frames

OPENCV = "opencv-python-headless"
MOST_CAMERAS = 64
CAMERA = re.compile(r"(?=.)(?P<pi>pi)?(?P<number>[0-9]*)")


@contextmanager
def frames_of(source: str) -> Iterator[Iterator[ImageLike]]:
    """The frames of a camera, a video file or a folder of images; closed afterwards.

    Args:
        source: a camera by its number, ``pi`` or ``pi1`` for a ribbon camera, or a path.

    Raises:
        ImageError: nothing there, a folder without images, a video without a frame.
        BackendError: OpenCV or picamera2 is absent, or the camera does not open.
    """
    path = Path(source)
    if source and os.path.isdir(path):
        files = images_below(path)
        if not files:
            what = f"{name_of(path, on_a_line=True)} holds no image"
            raise ImageError(what, expected="images, which are taken in the order of their names")
        yield iter(files)
        return
    camera = None if path.exists() else CAMERA.fullmatch(source)
    if camera is not None:
        number = int(camera["number"] or 0)
        if number >= MOST_CAMERAS:
            expected = f"0..{MOST_CAMERAS - 1}"
            raise BackendError("number of the camera", got=number, expected=expected)
        with pi_frames(number) if camera["pi"] else _captured(path, number) as frames:
            yield frames
        return
    if not path.is_file():
        expected = "the number of a camera, pi, a video file or a folder of images"
        raise ImageError("source of the frames", got=repr(source)[:200], expected=expected)
    with _captured(path, None) as frames:
        yield frames


@contextmanager
def _captured(path: Path, camera: int | None) -> Iterator[Iterator[np.ndarray]]:
    """What OpenCV reads of a camera, or of a video file."""
    cv2 = _opencv()
    capture = cv2.VideoCapture(str(path) if camera is None else camera)
    try:
        if not capture.isOpened():
            raise _cannot_open(path, camera)
        if camera is not None:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not those that waited
        yield _read(capture, path, camera)
    finally:
        capture.release()


def _read(capture: Any, path: Path, camera: int | None) -> Iterator[np.ndarray]:
    count = 0
    while True:
        done, frame = capture.read()
        if not done:
            break
        count += 1
        yield np.ascontiguousarray(frame[:, :, ::-1])  # OpenCV has blue first
    if not count:
        raise _cannot_open(path, camera)


def _cannot_open(path: Path, camera: int | None) -> ImageError | BackendError:
    if camera is not None:
        remedy = "ls /dev/video*; is it in use, and may this user read it (group video)?"
        return BackendError(f"camera {camera} gives no frames", remedy=remedy)
    what = f"{name_of(path, on_a_line=True)} gives no frames"
    return ImageError(what, expected="a video that OpenCV reads, e.g. MP4 with H.264, or AVI")


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        remedy = f"pip install {OPENCV}; a folder of images needs none"
        what = "frames of a camera or a video need OpenCV"
        raise BackendError(what, got=str(error)[:200], remedy=remedy) from error
    return cv2
