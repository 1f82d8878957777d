"""TensorFlow Lite Micro's reference kernels on this machine: what a microcontroller computes.

Not a backend to serve with: it shows that a microcontroller runs a model, what it answers, and how
much working memory ("arena") it needs. 64-bit pointers make that a little more than on the device.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import litert
from runtime.backends.litert import OUTPUTS, _in_floats, _in_steps
from runtime.backends.runner import BatchRunner, reason, require_batch
from runtime.errors import BackendError
from runtime.files import litert as litert_file

INSTALL = "pip install 'clip2edge[micro]'"
LARGEST = 64 * 2**20  # bytes of an arena: no microcontroller has as much
STEP = 16  # bytes: the arena's alignment


class MicroRunner(BatchRunner):
    """A model in TensorFlow Lite Micro's interpreter."""

    provider = "reference kernels"
    threads = 1
    fixed_batch = 1

    def __init__(self, interpreter: Any, version: str) -> None:
        self._interpreter = interpreter
        self.versions = {"tflite-micro": version}
        self._input = _details(interpreter.get_input_details(0))
        shape = self._input["shape"].tolist()
        if self._input["dtype"] is not np.int8 or len(shape) != 4 or shape[:2] != [1, 3]:
            got = (self._input["dtype"].__name__, shape)
            raise BackendError("model input", got=got, expected="int8 (1, 3, S, S)")
        self.input_size = int(shape[2])
        self._outputs = []
        for index in range(len(OUTPUTS)):
            with contextlib.suppress(Exception):  # it tells no number of outputs
                self._outputs.append(_details(interpreter.get_output_details(index)))
        self.outputs = OUTPUTS[: len(self._outputs)]

    @property
    def input_steps(self) -> tuple[float, int]:
        """Scale and zero point of the int8 input."""
        scale, point = self._input["quantization"]
        return float(scale), int(point)

    @property
    def output_steps(self) -> tuple[float, int]:
        """Those of the logits; (1, 0) where they are float32."""
        scale, point = self._outputs[0]["quantization"]
        is_float = self._outputs[0]["dtype"] is not np.int8
        return (1.0, 0) if is_float else (float(scale), int(point))

    def steps_of(self, values: np.ndarray) -> list[list[int]]:
        """Normalized values as the int8 steps of the input, row by row."""
        rows: list[list[int]] = _in_steps(values, self._input).tolist()
        return rows

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        require_batch(images, np.float32, (3, self.input_size, self.input_size))
        try:
            self._interpreter.set_input(_in_steps(images, self._input), 0)
            self._interpreter.invoke()
            found = {name: self._interpreter.get_output(i) for i, name in enumerate(self.outputs)}
        except (RuntimeError, ValueError) as error:
            raise BackendError("tflite-micro refused the image", got=reason(error)) from error
        rows = dict(zip(self.outputs, self._outputs, strict=True))
        return [_in_floats(found[name], rows[name]) for name in outputs]


def load(model: Path) -> MicroRunner:
    """``model`` (.tflite) in the reference kernels.

    Raises:
        BackendError: tflite-micro is absent, or refuses the model.
        BundleError: the file is no LiteRT model.
    """
    litert_file.check(model)
    made, version = _import()
    return MicroRunner(_interpreter(made, model.read_bytes(), LARGEST), version)


def arena_bytes(model: bytes) -> int:
    """The smallest arena that a model runs in here.

    Raises: BackendError: tflite-micro is absent, or refuses the model.
    """
    made, _ = _import()
    _interpreter(made, model, LARGEST)  # else the search would blame the memory
    low, high = 0, LARGEST
    while high - low > STEP:
        middle = (low + high) // 2 // STEP * STEP
        try:
            _interpreter(made, model, middle)
            high = middle
        except BackendError:
            low = middle
    return high


def operators(model: Path) -> frozenset[str]:
    """Names of the operators of a .tflite file; BackendError if LiteRT is absent or refuses it."""
    interpreter = litert.load(model, threads=1)._interpreter
    names = {row["op_name"] for row in interpreter._get_ops_details()}
    return frozenset(names - {"DELEGATE"})


def _details(row: dict[str, Any]) -> dict[str, Any]:
    """What it says of a tensor, in the form of LiteRT's details."""
    about = row["quantization_parameters"]
    scales, points = about["scales"], about["zero_points"]
    pair = (scales[0], points[0]) if len(scales) else (0.0, 0)
    return {"dtype": row["dtype"], "shape": row["shape"], "quantization": pair}


def _interpreter(made: Any, model: bytes, arena: int) -> Any:
    try:
        with _silent():
            return made(model, [], arena)
    except (RuntimeError, ValueError) as error:
        raise BackendError("tflite-micro cannot load the model", got=reason(error)) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """It writes what it lacks to the process's own standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _import() -> tuple[Any, str]:
    try:
        from importlib.metadata import version

        from tflite_micro.python.tflite_micro.runtime import Interpreter

        return Interpreter, version("tflite-micro")
    except ImportError as error:
        raise BackendError("tflite-micro is not installed", got=error, remedy=INSTALL) from error
