"""ncnn: one image a call on the CPU, in float32 unless it is told otherwise.

It does not tell which kernels ran, and it trusts its files: ``runtime.files.ncnn`` checks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from runtime.backends.runner import TAKES, TENSOR, BatchRunner, require_batch, whole_number
from runtime.errors import BackendError
from runtime.files import ncnn as ncnn_file
from runtime.host.telemetry import usable_cores

INSTALL = "pip install 'clip2edge[ncnn]'"
MAX_THREADS = 1024
CHANNELS = 3
PRECISIONS = ("f32", "f16")


class NcnnRunner(BatchRunner):
    """A network that ncnn loaded."""

    provider = "CPU"
    fixed_batch = 1

    def __init__(self, module: Any, net: Any, graph: ncnn_file.Param) -> None:
        self._module = module
        self._net = net
        self.threads = net.opt.num_threads
        self.versions = {"ncnn": str(module.__version__)}
        self.outputs = tuple(graph.outputs)
        self.input_size = graph.size
        (self._input,) = graph.inputs
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"NcnnRunner({self.threads} threads, outputs {list(self.outputs)})"

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        require_batch(images, np.float32, (CHANNELS, self.input_size, self.input_size))
        with self._lock:
            extractor = self._net.create_extractor()
            image = self._module.Mat(np.ascontiguousarray(images[0]))
            code = extractor.input(self._input, image)
            rows = []
            for name in outputs:
                failed, blob = extractor.extract(name)
                if code or failed:
                    got = f"error {code or failed} at {name}"
                    raise BackendError("ncnn refused the image", got=got)
                rows.append(np.array(blob, np.float32).reshape(1, -1))  # a copy
            return rows


def load(
    model: Path, *, threads: int | None = None, inference_precision: str = "f32"
) -> NcnnRunner:
    """``model`` (.param, with its .bin beside it) on the CPU.

    Args:
        threads: compute threads; default: the usable physical cores.
        inference_precision: "f32", or "f16" where the processor has it (ncnn's own default).

    Raises:
        BackendError: ncnn is absent, or refuses the model.
        BundleError: the file is no model that this runtime takes.
    """
    ncnn = _import()
    if inference_precision not in PRECISIONS:
        got, expected = repr(inference_precision)[:80], ", ".join(PRECISIONS)
        raise BackendError("inference_precision", got=got, expected=expected)
    file = Path(model)
    graph = ncnn_file.check(file)
    if [TAKES.get(name) for name in graph.inputs] != [TENSOR]:
        expected = "one float32 input 'images' (3, S, S)"
        raise BackendError("model inputs", got=graph.inputs, expected=expected)
    net = ncnn.Net()
    count = usable_cores() if threads is None else whole_number("threads", threads, MAX_THREADS)
    net.opt.num_threads = count
    net.opt.use_vulkan_compute = False
    half = inference_precision == "f16"
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, half)
    net.opt.use_bf16_storage = False
    weights = ncnn_file.weights(file)
    if net.load_param(str(file)) or net.load_model(str(weights)):
        raise BackendError(f"ncnn cannot load {file}", expected="a model of this version")
    return NcnnRunner(ncnn, net, graph)


def _import() -> Any:
    """The module; a BackendError if it is absent."""
    try:
        import ncnn
    except ImportError as error:
        raise BackendError("ncnn is not installed", got=error, remedy=INSTALL) from error
    return ncnn
