"""TensorRT 10 and 11: an engine built on this machine from a bundle's ONNX file.

What this project verified, and what not: ``runtime.tensorrt``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends.runner import PIXELS, TENSOR, Runner
from runtime.errors import BackendError
from runtime.tensorrt.engine import Prepared, prepare
from runtime.tensorrt.execute import Execution
from runtime.tensorrt.settings import EngineSettings

INPUTS = {"images": TENSOR, "pixels": PIXELS, "pixel_values": TENSOR}


class TrtRunner(Runner):
    """A model as a TensorRT engine. Safe to share between threads: calls wait for each other.

    Attributes:
        threads: 1, the host thread that queues work; the GPU does the rest.
        kernels: what runs, e.g. {"int8 compute": 29, "fp32 reformat": 2}.
        max_batch: largest batch of one call to the engine; ``run`` splits a larger one.
    """

    provider = "TensorRT"
    threads = 1

    def __init__(self, prepared: Prepared, cuda_graph: bool = True) -> None:
        self._execution = Execution(prepared, cuda_graph)
        self._states = prepared.states
        self._lock = threading.Lock()
        self.identity = prepared.identity
        self.layers = prepared.layers
        self.engine_file = prepared.path
        gpu = self.identity.gpu
        self.versions = {
            "tensorrt": self.identity.tensorrt,
            "cuda": self.identity.cuda,
            "gpu": f"{gpu.name}, compute capability {gpu.compute_capability}, "
            f"{gpu.multiprocessors} multiprocessors",
        }
        self.kernels = prepared.layers.kernels()
        self.max_batch = self._execution.max_batch
        self.outputs = tuple(self._execution.outputs)
        image = self._execution.input
        self.takes = INPUTS.get(image.name, "")
        if not self.takes or len(image.shape) != 3:
            expected = "'images' (B, 3, S, S) float, or 'pixels' (B, S, S, 3) uint8"
            raise BackendError("engine input", got=f"{image.name} {image.shape}", expected=expected)
        self.input_size = image.shape[1]

    def __repr__(self) -> str:
        return f"TrtRunner({self.versions['gpu']}, outputs {list(self.outputs)})"

    @property
    def states(self) -> tuple[str, ...]:
        """Sentences: where the engine came from, what its layers are, which CUDA graphs exist."""
        return (*self._states, *self._execution.states)

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Several outputs of one pass, each (B, K) float32; errors as ``run``."""
        for output in outputs:
            if output not in self.outputs:
                expected = ", ".join(self.outputs)
                raise BackendError(f"no output {output!r}", got=output, expected=expected)
        with self._lock:
            parts = [self._execution.run(part, outputs) for part in self._parts(images)]
        if not parts:
            empty = {name: self._execution.outputs[name].shape for name in outputs}
            return {name: np.empty((0, *shape), np.float32) for name, shape in empty.items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    def device_ms(self, images: np.ndarray, calls: int = 1) -> list[float]:
        """Milliseconds on the GPU alone (CUDA events, no copies) of each of ``calls`` passes.

        Raises: BackendError: as ``run``, or no image.
        """
        parts = self._parts(images)
        if not parts:
            raise BackendError("batch", got=0, expected="1 or more images")
        with self._lock:
            durations = [self._execution.device_ms(part, calls) for part in parts]
        return [sum(parts_ms) for parts_ms in zip(*durations, strict=True)]

    def close(self) -> None:
        """Frees the GPU memory; the runner cannot be used afterwards."""
        with self._lock:
            self._execution.close()

    def _parts(self, images: np.ndarray) -> list[np.ndarray]:
        """The images in batches that the engine takes."""
        shape = self._execution.input.shape
        fixed = self._execution.batch
        if images.ndim != 4 or images.shape[1:] != shape:
            expected = f"(B, {', '.join(map(str, shape))})"
            raise BackendError("images", got=images.shape, expected=expected)
        if fixed and len(images) % fixed:
            expected = f"a multiple of {fixed}, which the model fixes"
            raise BackendError("batch", got=len(images), expected=expected)
        step = self.max_batch
        return [images[start : start + step] for start in range(0, len(images), step)]


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
        threads: ignored, the host needs one; every backend accepts it.
        cache: folder of engines; default ``runtime.tensorrt.cache.default_folder()``.
        cuda_graph: launch each inference as one graph, where the engine allows it.
        options: fields of ``EngineSettings``, e.g. ``max_batch=32``.

    Raises:
        BackendError: TensorRT, CUDA or the GPU is absent, an unknown option, or a failed build.
        BundleError: the file is no ONNX model or reaches outside itself.
    """
    known = sorted(field.name for field in fields(EngineSettings))
    unknown = ", ".join(sorted(set(options) - set(known)))
    if unknown:
        expected = ", ".join(["cache", "cuda_graph", *known])
        raise BackendError("unknown option of backend 'tensorrt'", got=unknown, expected=expected)
    prepared = prepare(Path(model), EngineSettings(**options), Path(cache) if cache else None)
    return TrtRunner(prepared, cuda_graph)
