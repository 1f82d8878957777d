"""A stand-in for picamera2, as its own source behaves: there is no ribbon camera here.

It knows one camera, refuses a second user and any other number with the errors of the original,
wants to be configured before it starts, and has blue first unless the format is ``BGR888``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SOURCE = """
import numpy as np
from pathlib import Path

FRAMES = Path(__file__).with_name("frames.npy")
CALLS = Path(__file__).with_name("calls.txt")


class Picamera2:
    users = 0

    def __init__(self, camera_num=0):
        [None][camera_num]  # "list index out of range", as of the original
        if Picamera2.users:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        Picamera2.users += 1
        self.frames = iter(np.load(FRAMES))
        self.config = None
        self.started = False

    def create_video_configuration(self, main, buffer_count=6, queue=True):
        return {"main": main, "buffer_count": buffer_count, "queue": queue}

    def configure(self, config):
        self.config = config

    def start(self):
        if self.config is None:
            raise RuntimeError("Camera has not been configured")
        self.started = True

    def capture_array(self, name="main"):
        assert self.started and self.config["queue"] is False
        frame = next(self.frames, None)
        if frame is None:
            raise KeyboardInterrupt
        if frame.max() == 0:
            raise RuntimeError("camera frontend has timed out")
        return frame if self.config[name]["format"] == "BGR888" else frame[..., ::-1]

    def stop(self):
        self.started = False
        self._note("stop")

    def close(self):
        Picamera2.users -= 1
        self._note("close")

    def _note(self, call):
        with CALLS.open("a", encoding="utf-8") as file:
            print(call, file=file)
"""


def write_picamera(folder: Path, frames: np.ndarray) -> Path:
    """A folder for the path of Python: ``picamera2`` that gives ``frames`` (N, H, W, 3), then
    Ctrl-C; a black one stands for a cable that is pulled.
    """
    folder.mkdir()
    (folder / "picamera2.py").write_text(SOURCE, encoding="utf-8")
    np.save(folder / "frames.npy", frames)
    return folder


def calls_of(folder: Path) -> list[str]:
    """What was called at the end."""
    return (folder / "calls.txt").read_text(encoding="utf-8").split()
