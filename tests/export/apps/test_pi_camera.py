"""The camera app, run as a program: recorded frames, a stand-in for the ribbon camera, and none."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from picamera_stand_in import calls_of, write_picamera
from tiny_bundles import encoded, photo, rejecting_bundle

from export.apps import write_app
from runtime import Classifier, Stream

COUNT = 30


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("bundle")
    return rejecting_bundle(scratch / "bundle", scratch)


@pytest.fixture(scope="module")
def app(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pi") / "app"
    return write_app(bundle, "pi-camera", out, precision="fp32")


def run(
    app: Path, *arguments: str | Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The app in its folder; ``path`` joins the path of Python."""
    environment = {**os.environ, "PYTHONPATH": str(path or ""), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "camera.py", *map(str, arguments)],
        cwd=app,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def lines_of(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    return [line.split("\t") for line in done.stdout.splitlines()]


def answers(bundle: Path, frames: int = 8) -> list[list[str]]:
    """Name and confidence of each recorded frame, by the stream that the app is made of."""
    stream = Stream(Classifier.load(bundle, "fp32", threads=1), frames=frames)
    seen = stream.watch(photo(seed) for seed in range(COUNT))
    return [[answer.label, f"{answer.probability:.0%}"] for answer in seen]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for seed in range(COUNT):
        (folder / f"{seed:02d}.png").write_bytes(encoded(photo(seed)))
    return folder


@pytest.mark.parametrize("frames", [1, 8])
def test_recorded_frames_have_the_answers_of_the_stream(
    frames: int, app: Path, bundle: Path, recorded: Path
) -> None:
    want = answers(bundle, frames)
    names = [row[0] for row in want]
    assert len(set(names)) > 1 and "not sure" in names
    done = run(app, recorded, "--every", "--frames", str(frames))
    assert done.returncode == 0 and not done.stderr
    rows = lines_of(done)
    assert [row[:2] for row in rows] == want
    assert rows[0][2] == "first frame"
    assert all(float(row[2].removesuffix(" frames/s")) > 0 for row in rows[1:])
    changes = [row for before, row in zip([[""], *want], want, strict=False) if before[0] != row[0]]
    done = run(app, recorded, "--frames", str(frames))
    assert [row[:2] for row in lines_of(done)] == changes


def test_a_bad_frame_is_named_and_skipped(app: Path, bundle: Path, recorded: Path) -> None:
    (recorded / "00a.png").write_text("no image", encoding="utf-8")
    done = run(app, recorded, "--every")
    assert done.returncode == 1 and "00a.png" in done.stderr and "Traceback" not in done.stderr
    assert [row[:2] for row in lines_of(done)] == answers(bundle)


def test_the_ribbon_camera_is_what_it_takes_by_itself(
    app: Path, bundle: Path, tmp_path: Path
) -> None:
    site = write_picamera(tmp_path / "site", np.stack([photo(seed) for seed in range(COUNT)]))
    done = run(app, "--every", path=site)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert [row[:2] for row in lines_of(done)] == answers(bundle)
    assert calls_of(site) == ["stop", "close"]


@pytest.mark.skipif(find_spec("picamera2") is not None, reason="this machine has picamera2")
def test_without_a_ribbon_camera_it_tries_another_and_says_so(app: Path, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('no OpenCV here')", encoding="utf-8")
    done = run(app, path=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    first, second = done.stderr.splitlines()
    assert first == "no picamera2 (sudo apt install -y python3-picamera2): trying USB camera 0"
    assert "need OpenCV" in second and "pip install opencv-python-headless" in second
    done = run(app, "pi")
    assert done.returncode == 2 and "sudo apt install -y python3-picamera2" in done.stderr


def test_a_damaged_bundle_and_what_is_no_source_are_one_line(
    bundle: Path, recorded: Path, tmp_path: Path
) -> None:
    app = write_app(bundle, "pi-camera", tmp_path / "app")
    done = run(app, "gone.mp4")
    assert done.returncode == 2 and done.stderr.startswith("error: source of the frames")
    (app / "bundle" / "model.int8.onnx").write_bytes(b"")
    done = run(app, recorded)
    assert done.returncode == 2 and "has changed" in done.stderr and not done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_the_service_starts_a_program_that_is_there(app: Path) -> None:
    unit = configparser.ConfigParser()
    unit.read(app / "classifier.service", encoding="utf-8")
    folder = unit["Service"]["WorkingDirectory"]
    python, program = unit["Service"]["ExecStart"].split()
    assert (app / program).is_file() and python == f"{folder}/.venv/bin/python"
    assert f"User={unit['Service']['User']}\n" in (app / "classifier.service").read_text()
    readme = (app / "README.md").read_text(encoding="utf-8")
    assert "never on a Raspberry Pi" in readme and f"`{folder}`" in readme
    assert "python3 -m venv --system-site-packages .venv" in readme


def test_it_is_the_python_app_with_a_camera(bundle: Path, app: Path, tmp_path: Path) -> None:
    plain = write_app(bundle, "python", tmp_path / "app", precision="fp32")
    for name in ("classify.py", "requirements.txt"):
        assert (app / name).read_bytes() == (plain / name).read_bytes()
