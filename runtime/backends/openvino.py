"""OpenVINO: an ONNX file or its own IR, explicit device and threads, proof of which kernels ran.

Its CPU plugin runs quantized convolutions in int8 from the quantizers in the file, ours as they
are. It computes float in bfloat16 or float16 where a processor has them, unless it is told not to:
here ``inference_precision`` is "f32".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from runtime.backends.runner import (
    IMAGE,
    PIXELS,
    TAKES,
    TENSOR,
    BatchRunner,
    reason,
    require_batch,
    whole_number,
)
from runtime.errors import BackendError, BundleError
from runtime.files import onnx as onnx_file
from runtime.files import openvino as ir_file
from runtime.files.onnx_sizes import MAX_ELEMENTS
from runtime.host.telemetry import usable_cores

MIN_VERSION = (2024, 0)  # the first whose Python package is openvino itself, not openvino.runtime
NEEDED = f"openvino>={'.'.join(map(str, MIN_VERSION))}"
INSTALL = "pip install 'clip2edge[openvino]'"
CPU = "CPU"
PRECISIONS = ("f32", "bf16", "f16")  # of float operators
TYPES = {TENSOR: "f32", PIXELS: "u8", IMAGE: "u8"}
UNITS = {"GPU": "gpu"}
MAX_THREADS = 1024
OPEN_SIZE = 224  # edge of an image for a graph that leaves it open
INTERNAL = frozenset({"Parameter", "Result", "Const", "Constant", "Input", "Output"})


class OpenVinoRunner(BatchRunner):
    """A model that OpenVINO compiled for one device."""

    def __init__(self, core: Any, model: Any, device: str, settings: dict[str, Any]) -> None:
        self._core = core
        self._model = model
        self._settings = settings
        self.provider = device
        self.unit = UNITS.get(device.partition(".")[0], "cpu")
        self.threads = settings.get("INFERENCE_NUM_THREADS", 1)
        self.versions = {"openvino": _short_version(_import())}
        self.outputs = tuple(_name_of(output) for output in model.outputs)
        self._describe_input(model.inputs)
        self._request = core.compile_model(model, device, settings).create_infer_request()
        self._lock = Lock()  # a request runs one batch at a time

    def __repr__(self) -> str:
        where = f"{self.provider}, {self.threads} threads"
        return f"OpenVinoRunner({where}, outputs {list(self.outputs)})"

    def _describe_input(self, inputs: Sequence[Any]) -> None:
        found = [(_name_of(value), value.element_type.get_type_name()) for value in inputs]
        takes = TAKES.get(found[0][0]) if len(found) == 1 else None
        shape = list(inputs[0].partial_shape) if takes else []
        if takes is None or found[0][1] != TYPES[takes] or len(shape) != 4:
            expected = "one input: f32 'images' (B, 3, S, S), or u8 'pixels' (B, S, S, 3)"
            raise BackendError("model inputs", got=found, expected=expected)
        sizes = [size.get_length() if size.is_static else None for size in shape]
        self.takes = takes
        self.fixed_batch = sizes[0]
        self.input_size = sizes[2 if takes == TENSOR else 1]
        self._expected = np.float32 if takes == TENSOR else np.uint8, sizes[1:]

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        require_batch(images, *self._expected)  # the plugin takes any size
        places = [self.outputs.index(name) for name in outputs]
        try:
            with self._lock:
                self._request.infer([np.ascontiguousarray(images)])
                tensors = [self._request.get_output_tensor(place) for place in places]
                return [tensor.data.astype(np.float32) for tensor in tensors]  # copies
        except Exception as error:  # RuntimeError for all that the plugin refuses
            raise BackendError("openvino refused the batch", got=reason(error)) from error

    @cached_property
    def kernels(self) -> dict[str, int]:
        """Operator and type of its kernel -> executed nodes, by the plugin's own counters.

        The type is that of the arithmetic: "Convolution I8" ran an integer kernel, whatever
        quantizers a file has. Compiles the model once more, with counters.
        """
        counted = {**self._settings, "PERF_COUNT": True}
        try:
            compiled = self._core.compile_model(self._model, self.provider, counted)
            request = compiled.create_infer_request()
            request.infer([self.blank(self.input_size or OPEN_SIZE)])
        except Exception as error:
            raise BackendError("openvino counts no kernels", got=reason(error)) from error
        ran = (row for row in request.profiling_info if "EXECUTED" in str(row.status))
        names = (_kernel(row.node_type, row.exec_type) for row in ran)
        return dict(sorted(Counter(filter(None, names)).items()))


def load(
    model: Path, *, threads: int | None = None, device: str = CPU, inference_precision: str = "f32"
) -> OpenVinoRunner:
    """``model`` (.onnx, or .xml with its .bin beside it), compiled for exactly one device.

    Args:
        threads: compute threads of the CPU, in one stream; default: the usable physical cores.
        device: "CPU", "GPU" or "NPU"; this project ran the CPU alone.
        inference_precision: of float operators: "f32", or "bf16" or "f16" where a device has them.

    Raises:
        BackendError: openvino or the device is absent, or it refuses the model.
        BundleError: the file is no model, reaches outside itself, or asks for too much memory.
    """
    ov = _import()
    if inference_precision not in PRECISIONS:
        got, expected = repr(inference_precision)[:80], ", ".join(PRECISIONS)
        raise BackendError("inference_precision", got=got, expected=expected)
    file = Path(model)
    (ir_file if file.suffix == ir_file.SUFFIX else onnx_file).check(file)
    core = ov.Core()
    if device not in (present := core.available_devices):
        remedy = "OpenVINO needs the device's driver, or a processor that it knows"
        got = f"{', '.join(present) or 'none'} present"
        raise BackendError(f"device {device!r} is absent", got=got, remedy=remedy)
    count = usable_cores() if threads is None else whole_number("threads", threads, MAX_THREADS)
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": inference_precision}
    settings |= {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if device == CPU:
        # Pinned threads would stay on the cores that other engines of a bench run on.
        settings |= {"INFERENCE_NUM_THREADS": count, "ENABLE_CPU_PINNING": False}
    try:
        weights = {} if file.suffix != ir_file.SUFFIX else {"weights": str(ir_file.weights(file))}
        read = core.read_model(str(file), **weights)
        _require_bounded(read, file)
        return OpenVinoRunner(core, read, device, settings)
    except (BackendError, BundleError):
        raise
    except Exception as error:  # its exceptions share no base class of their own
        raise BackendError(f"openvino cannot load {file}", got=reason(error)) from error


def _require_bounded(model: Any, file: Path) -> None:
    """BundleError if a result is too large, by the shapes that OpenVINO itself worked out."""
    for node in model.get_ordered_ops():
        for output in node.outputs():
            size = 1
            for dimension in output.partial_shape if output.partial_shape.rank.is_static else ():
                size *= dimension.get_length() if dimension.is_static else 1
            if size > MAX_ELEMENTS:
                what = f"{file} may take any time or memory"
                got = f"{node.get_type_name()} of {size:,} values"
                raise BundleError(what, got=got, expected=f"at most {MAX_ELEMENTS:,} values")


def _name_of(value: Any) -> str:
    """The shortest name of an input or output: a tensor may have several."""
    return min(value.get_names(), key=lambda name: (len(name), name), default="")


def _kernel(node: str, kernel: str) -> str:
    """ "Convolution", "jit_avx2_1x1_I8" -> "Convolution I8"; "" for what computes nothing."""
    return "" if node in INTERNAL else f"{node} {kernel.rpartition('_')[2].upper()}"


def _short_version(module: Any) -> str:
    return str(module.__version__).partition("-")[0]


def _import() -> Any:
    """The module; a BackendError if it is absent or too old."""
    try:
        import openvino
    except ImportError as error:
        raise BackendError("openvino is not installed", got=error, remedy=INSTALL) from error
    version = str(getattr(openvino, "__version__", ""))
    numbers = [int(part) for part in version.partition("-")[0].split(".")[:2] if part.isdigit()]
    if tuple(numbers) < MIN_VERSION:
        remedy = f"pip install --upgrade '{NEEDED}'"
        raise BackendError("openvino is too old", got=version, expected=NEEDED, remedy=remedy)
    return openvino
