"""TensorRT 10 and 11: an engine built on this machine from a bundle's ONNX file. See
``runtime.tensorrt``.

Not run by this project: no GPU was at hand. The logic is tested with strict stand-ins for the
    published API.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import IMAGE, PIXELS, TENSOR
from runtime.errors import BackendError
from runtime.tensorrt.engine import Prepared, prepare
from runtime.tensorrt.execute import Execution
from runtime.tensorrt.settings import EngineSettings

INPUTS = {"images": TENSOR, "pixels": PIXELS, "pixel_values": TENSOR}
OUTPUT = "logits"


class TrtRunner:
    """A model as a TensorRT engine. Safe to share between threads: calls wait for each other.

    Attributes:
        provider: "TensorRT".
        threads: 1, the host thread that queues work; the GPU does the rest.
        takes: as ``runtime.backends.Runner``.
        kernels: what runs, e.g. {"int8 compute": 29, "fp32 reformat": 2}.
        max_batch: the largest batch of one call to the engine; ``run`` splits what is larger.
    """

    provider = "TensorRT"
    threads = 1

    def __init__(self, prepared: Prepared, cuda_graph: bool = True) -> None:
        self._execution = Execution(prepared, cuda_graph)
        self._states, self._lock = prepared.states, threading.Lock()
        self.identity, self.layers, self.engine_file = (
            prepared.identity,
            prepared.layers,
            prepared.path,
        )
        gpu = prepared.identity.gpu
        self.versions = {
            "tensorrt": prepared.identity.tensorrt,
            "cuda": prepared.identity.cuda,
            "gpu": f"{gpu.name}, compute capability {gpu.compute_capability}, "
            f"{gpu.multiprocessors} multiprocessors",
        }
        self.kernels = prepared.layers.kernels()
        self.max_batch = self._execution.max_batch
        self.outputs = tuple(self._execution.outputs)
        image = self._execution.input
        self.takes = INPUTS.get(image.name, "")
        if self.takes in ("", IMAGE) or len(image.shape) != 3:
            raise BackendError(
                "engine input",
                got=f"{image.name} {image.shape}",
                expected="'images' (B, 3, S, S) float, or 'pixels' (B, S, S, 3) uint8",
            )
        self.input_size: int | None = image.shape[1]

    @property
    def states(self) -> tuple[str, ...]:
        """Where the engine came from, what its layers are, and what became of CUDA graphs, one
        sentence each.
        """
        return (*self._states, *self._execution.states)

    def run(self, images: np.ndarray, output: str = OUTPUT) -> np.ndarray:
        """``output`` (B, K) float32 of normalized images (B, 3, S, S) float32, or of what else the
        model ``takes``.

        Raises:
            BackendError: no such output, another shape, or TensorRT or CUDA fails.
        """
        return self.run_all(images, (output,))[output]

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Several outputs of one pass, each (B, K) float32; a batch above the profile's is split.
        Errors as ``run``.
        """
        for output in outputs:
            if output not in self.outputs:
                raise BackendError(
                    f"no output {output!r}", got=output, expected=", ".join(self.outputs)
                )
        self._check(images)
        step = self._execution.max_batch
        with self._lock:
            parts = [
                self._execution.run(images[start : start + step], outputs)
                for start in range(0, len(images), step)
            ]
        if not parts:
            empty = {name: self._execution.outputs[name].shape for name in outputs}
            return {name: np.empty((0, *shape), np.float32) for name, shape in empty.items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    def device_ms(self, images: np.ndarray, calls: int = 1) -> list[float]:
        """Milliseconds on the GPU alone (CUDA events, no copies, no host) of each of ``calls``
        passes.

        A batch above the profile's is split, and its parts are added up.

        Raises:
            BackendError: as ``run``, or no image.
        """
        self._check(images)
        if not len(images):
            raise BackendError("batch", got=0, expected="1 or more images")
        step = self.max_batch
        with self._lock:
            parts = [
                self._execution.device_ms(images[at : at + step], calls)
                for at in range(0, len(images), step)
            ]
        return [sum(durations) for durations in zip(*parts, strict=True)]

    def blank(self, size: int) -> np.ndarray:
        """The smallest batch of black images that the model takes, of edge ``size``."""
        count = self._execution.batch or 1
        if self.takes == TENSOR:
            return np.zeros((count, 3, size, size), np.float32)
        return np.zeros((count, size, size, 3), np.uint8)

    def close(self) -> None:
        """Gives GPU memory back; the runner cannot be used afterwards."""
        with self._lock:
            self._execution.close()

    def _check(self, images: np.ndarray) -> None:
        wanted = self._execution.input.shape
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise BackendError(
                "images", got=images.shape, expected=f"(B, {', '.join(map(str, wanted))})"
            )
        fixed = self._execution.batch
        if fixed and len(images) % fixed:
            raise BackendError(
                "batch", got=len(images), expected=f"a multiple of {fixed}, which the model fixes"
            )


def load(
    model: Path,
    *,
    threads: int | None = None,
    cache: str | Path | None = None,
    cuda_graph: bool = True,
    **options: Any,
) -> TrtRunner:
    """The engine of ``model`` for this GPU, from the cache or built now (minutes, once).

    Args:
        model: an ONNX file; an engine is refused.
        threads: accepted for the shape's sake; the host needs one.
        cache: folder of engines; default ``runtime.tensorrt.cache.default_folder()``.
        cuda_graph: launch each inference as one graph, where the engine allows it.
        options: fields of ``EngineSettings``, e.g. ``max_batch=32``.

    Raises:
        BackendError: TensorRT, CUDA or the GPU is absent, an unknown option, or a model that cannot
            be built.
        BundleError: the file is no ONNX model or reaches outside itself.
    """
    known = {field.name for field in fields(EngineSettings)}
    unknown = sorted(set(options) - known)
    if unknown:
        expected = ", ".join(["cache", "cuda_graph", *sorted(known)])
        raise BackendError(
            "unknown option of backend 'tensorrt'", got=", ".join(unknown), expected=expected
        )
    prepared = prepare(Path(model), EngineSettings(**options), Path(cache) if cache else None)
    return TrtRunner(prepared, cuda_graph)
