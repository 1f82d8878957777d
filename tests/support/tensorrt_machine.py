"""A machine with a GPU and TensorRT, both stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cuda_stand_in import FakeCuda
from tensorrt_stand_in import tensorrt

from runtime.backends import tensorrt as tensorrt_backend
from runtime.tensorrt import engine as engine_module


class Machine:
    """A machine with a GPU and TensorRT, both stand-ins."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, major: int = 10, **quirks: Any
    ) -> None:
        self.cuda = FakeCuda()
        self.trt = tensorrt(major, self.cuda, **quirks)
        self.cache = folder / "cache"
        self.patch = monkeypatch
        self.use(self.trt, self.cuda)

    def use(self, trt: Any, cuda: FakeCuda) -> None:
        self.trt, self.cuda = trt, cuda
        self.patch.setattr(engine_module, "import_tensorrt", lambda: trt)
        self.patch.setattr(engine_module, "open_cuda", lambda: cuda)

    def load(self, model: Path, **options: Any) -> tensorrt_backend.TrtRunner:
        return tensorrt_backend.load(model, cache=self.cache, **options)
