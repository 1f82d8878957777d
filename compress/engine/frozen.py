"""Frozen networks in onnxruntime, which runs convolutions on a CPU several times as fast as torch.

EfficientNet-Lite0 at 224 px on two cores: 4 to 6 times. Features of frozen trunks and of image-only
teachers are thousands of images, so that the seconds of an export pay.

Every thread computes images of its own: that scales better than threads that share an image, and
the features do not depend on how many there are.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.hub import fingerprint_tensors

if TYPE_CHECKING:
    from torch import nn

WORTH = 192  # images from which on an export pays
CONVOLUTIONS = 8  # a network with fewer is a transformer, which gains little
PIXELS = 2 * 224**2  # of the images in a pass: the layers of more do not stay in the cache
MOST = 16  # images in a pass, so that every thread has some
KEPT = 4  # exported networks of this process: stages ask for the same ones

_sessions: dict[tuple[str, str, int], Any] = {}


class FrozenNetwork:
    """``(B, 3, S, S) float32 -> (B, D) float32`` of a module whose weights no longer change."""

    def __init__(self, module: nn.Module, size: int) -> None:
        """Exports the module, in eval mode and on the CPU, for images of ``size`` pixels."""
        import torch

        self._session = _session(module, size)
        self._threads = torch.get_num_threads()
        self._batch = batch_of(size)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features of normalized images."""

        def features(start: int) -> NDArray[np.float32]:
            part = images[start : start + self._batch]
            rows: NDArray[np.float32] = self._session.run(None, {"images": part})[0]
            return rows

        with ThreadPoolExecutor(self._threads) as threads:
            return np.concatenate(list(threads.map(features, range(0, len(images), self._batch))))


def batch_of(size: int) -> int:
    """Images of ``size`` pixels in a pass; the features are the same for any number."""
    return min(MOST, max(1, PIXELS // size**2))


def _session(module: nn.Module, size: int) -> Any:
    """The module in onnxruntime; that of an earlier one of the same layers and weights."""
    import onnxruntime

    key = (fingerprint_tensors(dict(module.state_dict())), repr(module), size)
    if key not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        made = onnxruntime.InferenceSession(_exported(module, size), options, providers)
        if len(_sessions) == KEPT:
            del _sessions[next(iter(_sessions))]
        _sessions[key] = made
    return _sessions[key]


def _exported(module: nn.Module, size: int) -> bytes:
    """The module as ONNX, for any number of images."""
    import torch

    buffer = io.BytesIO()
    with quiet_exporter(module), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (torch.zeros((2, 3, size, size)),),
            dynamo=True,
            input_names=["images"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
        program.save(buffer, external_data=False)  # type: ignore[union-attr, arg-type]
    return buffer.getvalue()


def frozen_network(module: Any, size: int, images: int, device: str) -> FrozenNetwork | None:
    """The module in onnxruntime if that pays for so many images; None: torch may run it.

    A module that does not export stays with torch as well.
    """
    from torch import nn

    convolutions = sum(isinstance(part, nn.Conv2d) for part in module.modules())
    if device != "cpu" or images < WORTH or convolutions < CONVOLUTIONS:
        return None
    try:
        return FrozenNetwork(module, size)
    except Exception:  # the exporters raise anything; torch gives the same features, only slower
        return None


@contextmanager
def quiet_exporter(module: nn.Module | None = None) -> Iterator[None]:
    """Silences the exporters' progress and deprecation messages; errors still raise.

    Meanwhile the module's ReLU6 are not in place: of ``hardtanh_`` an exporter thinks half again as
    long about the whole network.
    """
    from torch import nn

    parts = () if module is None else module.modules()
    in_place = [part for part in parts if isinstance(part, nn.ReLU6) and part.inplace]
    names = ("torch.onnx", "torch.export", "torchao", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        for part in in_place:
            part.inplace = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        for part in in_place:
            part.inplace = True
