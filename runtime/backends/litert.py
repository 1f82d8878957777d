"""LiteRT (TensorFlow Lite): one image a call on the CPU, with its XNNPACK delegate.

An int8 file is integer from its input on: images are rounded here to the steps that the file says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from runtime.backends.runner import BatchRunner, reason, require_batch, whole_number
from runtime.errors import BackendError, BundleError
from runtime.files import litert as litert_file
from runtime.host.telemetry import usable_cores

INSTALL = "pip install 'clip2edge[litert]'"
MAX_THREADS = 1024
OUTPUTS = ("logits", "features")  # a file keeps their order, and names of its own
# No loop, no state, no call of another graph, no operator of someone else's.
_SAFE = """
    CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED ADD SUB MUL DIV MEAN SUM MAXIMUM MINIMUM RELU RELU6
    RELU_N1_TO_1 RELU_0_TO_1 LOGISTIC HARD_SWISH TANH GELU SOFTMAX SQRT RSQRT SQUARE POW EXP ABS NEG
    L2_NORMALIZATION MAX_POOL_2D AVERAGE_POOL_2D PAD PADV2 RESHAPE TRANSPOSE SQUEEZE EXPAND_DIMS
    CONCATENATION SLICE STRIDED_SLICE QUANTIZE DEQUANTIZE BATCH_MATMUL CAST DELEGATE
"""
SAFE = frozenset(_SAFE.split())


class LiteRtRunner(BatchRunner):
    """A model in a LiteRT interpreter."""

    provider = "CPU"
    fixed_batch = 1

    def __init__(self, interpreter: Any, threads: int, version: str) -> None:
        self._interpreter = interpreter
        self.threads = threads
        self.versions = {"ai-edge-litert": version}
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        shapes = [(value["dtype"].__name__, value["shape"].tolist()) for value in inputs]
        is_image = len(inputs) == 1 and len(shapes[0][1]) == 4 and shapes[0][1][:2] == [1, 3]
        if not is_image or shapes[0][0] not in ("float32", "int8"):
            expected = "one float32 or int8 input (1, 3, S, S)"
            raise BackendError("model inputs", got=shapes, expected=expected)
        if not 1 <= len(outputs) <= len(OUTPUTS):
            raise BackendError("model outputs", got=len(outputs), expected="logits, and features")
        self.input_size = shapes[0][1][2]
        self.outputs = OUTPUTS[: len(outputs)]
        self._input = inputs[0]
        self._places = dict(zip(self.outputs, outputs, strict=True))
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"LiteRtRunner({self.threads} threads, outputs {list(self.outputs)})"

    @property
    def kernels(self) -> dict[str, int]:
        """Operator and type of its first input -> operators.

        LiteRT chooses a kernel by the types of its tensors and has no other to fall back to: an
        operator on int8 tensors runs in int8, or the model does not load.
        """
        types = {row["index"]: row["dtype"].__name__ for row in _tensors(self._interpreter)}
        names = (
            f"{row['op_name']} {types.get(row['inputs'][0], 'unknown')}"
            for row in self._interpreter._get_ops_details()
            if row["op_name"] != "DELEGATE" and len(row["inputs"])
        )
        return dict(sorted(Counter(names).items()))

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        require_batch(images, np.float32, (3, self.input_size, self.input_size))
        try:
            with self._lock:
                self._interpreter.set_tensor(self._input["index"], _in_steps(images, self._input))
                self._interpreter.invoke()
                places = [self._places[name] for name in outputs]
                read = self._interpreter.get_tensor  # copies
                return [_in_floats(read(place["index"]), place) for place in places]
        except (RuntimeError, ValueError) as error:
            raise BackendError("litert refused the image", got=reason(error)) from error


def load(model: Path, *, threads: int | None = None) -> LiteRtRunner:
    """``model`` (.tflite) on the CPU.

    Args:
        threads: compute threads; default: the usable physical cores.

    Raises:
        BackendError: LiteRT is absent, or refuses the model.
        BundleError: the file is no LiteRT model, or has operators that no classifier needs.
    """
    interpreter_type, version = _import()
    file = Path(model)
    litert_file.check(file)
    count = usable_cores() if threads is None else whole_number("threads", threads, MAX_THREADS)
    try:
        interpreter = interpreter_type(model_path=str(file), num_threads=count)
        ops = {row["op_name"] for row in interpreter._get_ops_details()}
        if foreign := sorted(ops - SAFE):
            what = f"{file} asks for operators that no classifier needs"
            raise BundleError(what, got=", ".join(foreign)[:400], expected="standard operators")
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"litert cannot load {file}", got=reason(error)) from error
    return LiteRtRunner(interpreter, count, version)


def _tensors(interpreter: Any) -> list[dict[str, Any]]:
    return list(interpreter.get_tensor_details())


def _in_steps(images: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Images in the type of an input: float32, or int8 steps."""
    if details["dtype"] is not np.int8:
        return np.ascontiguousarray(images)
    scale, point = details["quantization"]
    return np.clip(np.rint(images / np.float32(scale)) + point, -128, 127).astype(np.int8)


def _in_floats(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Values of an output as float32."""
    if details["dtype"] is not np.int8:
        return values.astype(np.float32, copy=False)
    scale, point = details["quantization"]
    return (values.astype(np.float32) - np.float32(point)) * np.float32(scale)


def _import() -> tuple[Any, str]:
    """The interpreter's class and the version; a BackendError if the engine is absent."""
    try:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise BackendError("litert is not installed", got=error, remedy=INSTALL) from error
    return Interpreter, str(getattr(ai_edge_litert, "__version__", "unknown"))
