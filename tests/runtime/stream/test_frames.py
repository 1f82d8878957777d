"""Sources of frames: a folder without OpenCV, a video with it, and what is said of others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import encoded, photo

from runtime.errors import BackendError, ImageError
from runtime.stream.frames import frames_of


def test_a_folder_gives_its_images_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.png").write_bytes(encoded(photo()))
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with frames_of(str(tmp_path)) as frames:
        assert [Path(str(frame)).name for frame in frames] == ["a.png", "b.png", "c.png"]


def test_without_opencv_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "a.avi").write_bytes(b"x")
    for source in ("0", str(tmp_path / "a.avi")):
        with (
            pytest.raises(BackendError, match="need OpenCV.*pip install opencv-python-headless"),
            frames_of(source),
        ):
            pass


@pytest.mark.parametrize("source", ["gone.mp4", "", "-1", "1e3"])
def test_what_is_no_source(source: str) -> None:
    with pytest.raises(ImageError, match="source of the frames"), frames_of(source):
        pass


def test_a_folder_without_images_and_a_number_too_large(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no image"), frames_of(str(tmp_path)):
        pass
    with pytest.raises(BackendError, match=r"got 99 · expected 0\.\.63"), frames_of("99"):
        pass


def test_a_video_gives_its_frames_in_rgb(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    file = str(tmp_path / "a.avi")
    writer = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no video")
    for level in (0, 100, 200):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = level  # red, which OpenCV has last
        writer.write(frame)
    writer.release()
    with frames_of(file) as frames:
        seen = [np.asarray(frame) for frame in frames]
    assert [frame.shape for frame in seen] == [(48, 64, 3)] * 3
    reds = [float(frame[..., 0].mean()) for frame in seen]
    np.testing.assert_allclose(reds, (0, 100, 200), atol=12)
    (tmp_path / "bad.avi").write_bytes(b"no video")
    with pytest.raises(ImageError, match="gives no frames"), frames_of(str(tmp_path / "bad.avi")):
        pass
    with pytest.raises(BackendError, match="camera 63 gives no frames"), frames_of("63"):
        pass
