"""A ribbon camera as a source of frames, on a stand-in for picamera2; and what is said without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from picamera_stand_in import calls_of, write_picamera
from tiny_bundles import photo

from runtime.errors import BackendError
from runtime.stream.frames import frames_of

FRAMES = np.stack([photo(seed) for seed in range(3)] + [np.zeros_like(photo())])


@pytest.fixture
def picamera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = write_picamera(tmp_path / "site", FRAMES)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("picamera2", None)


def test_frames_come_in_rgb_and_the_camera_is_closed(picamera: Path) -> None:
    with frames_of("pi") as frames:
        seen = list(islice(frames, 3))
        with pytest.raises(BackendError, match="Pi camera 0 gives no frames.*__init__ sequence"):
            frames_of("pi0").__enter__()
    np.testing.assert_array_equal(seen, FRAMES[:3])
    assert calls_of(picamera) == ["stop", "close"]
    with frames_of("pi0") as frames:
        assert next(frames) is not None, "the camera was given back"


def test_a_camera_that_is_not_there_or_is_unplugged(picamera: Path) -> None:
    with (
        pytest.raises(BackendError, match="Pi camera 1 gives.*out of range.*rpicam-hello"),
        frames_of("pi1"),
    ):
        pass
    with pytest.raises(BackendError, match="has timed out"), frames_of("pi") as frames:
        list(frames)
    assert calls_of(picamera) == ["stop", "close"]
    with pytest.raises(BackendError, match=r"got 64 · expected 0\.\.63"), frames_of("pi64"):
        pass


def test_a_camera_that_refuses_its_configuration_is_closed(
    picamera: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import picamera2

    def refuse(self: object, config: object) -> None:
        raise RuntimeError("Invalid camera configuration")

    monkeypatch.setattr(picamera2.Picamera2, "configure", refuse)
    with pytest.raises(BackendError, match="Invalid camera configuration"), frames_of("pi"):
        pass
    assert calls_of(picamera) == ["close"]


@pytest.mark.parametrize("broken", [None, "raise ValueError('numpy.dtype size changed')"])
def test_without_picamera2_it_says_what_to_install(
    broken: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken is None:
        monkeypatch.setitem(sys.modules, "picamera2", None)
    else:
        (tmp_path / "picamera2.py").write_text(broken, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
    said = "need picamera2.*sudo apt install -y python3-picamera2"
    with pytest.raises(BackendError, match=said), frames_of("pi"):
        pass


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pi").mkdir()
    (tmp_path / "pi" / "a.png").write_bytes(b"x")
    with frames_of("pi") as frames:
        assert [Path(str(frame)).name for frame in frames] == ["a.png"]
