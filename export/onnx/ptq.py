"""The baseline of quantization-aware training: onnxruntime's static quantization of the student.

The same float weights and calibration images, and the settings that onnxruntime recommends for
x86: uint8 activations, int8 weights per channel, ranges from minimum and maximum (entropy gave the
same here, percentiles nothing better). What a root is taken of stays in float: among 256 levels of
``|x|`` the small ones are one, and a head on roots of features lost 5 points by it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compress.engine.disk import raise_if_full
from compress.engine.errors import ExportError
from export.onnx.convert import normalize_bytes, save
from runtime.bundle import INPUT


class _Chunks:
    """onnxruntime's calibration reader over an array ``(n, 3, S, S)``."""

    def __init__(self, images: NDArray[np.float32], chunk: int = 16) -> None:
        end = len(images) - len(images) % chunk or len(images)
        self._chunks = (images[start : start + chunk] for start in range(0, end, chunk))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        chunk = next(self._chunks, None)
        return None if chunk is None else {INPUT: chunk}


def quantize_static(model: Path, images: NDArray[np.float32], target: Path) -> Path:
    """Writes onnxruntime's static QDQ quantization of the float32 file ``model`` to ``target``.

    Args:
        images: calibration images ``(n, 3, S, S)``, normalized.

    Raises: ExportError: onnxruntime cannot quantize the model.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, _quiet():
        prepared = Path(scratch) / "prepared.onnx"
        raw = Path(scratch) / "raw.onnx"
        try:
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(raw),
                _Chunks(images),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                nodes_to_exclude=_under_roots(onnx.load(prepared).graph),
            )
            quantized = onnx.load(raw)
        except Exception as error:
            raise_if_full(Path(scratch))
            got = f"{type(error).__name__}: {error}"
            raise ExportError("onnxruntime's static quantization failed", got=got) from error
    normalize_bytes(quantized)
    quantized.metadata_props.extend(onnx.load(model, load_external_data=False).metadata_props)
    return save(quantized, target)


def _under_roots(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes whose output a square root is taken of."""
    roots = {name for node in graph.node if node.op_type == "Sqrt" for name in node.input}
    return [node.name for node in graph.node if roots.intersection(node.output)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences onnxruntime's quantization tools, which print, and log to the root logger.

    They log a traceback where they go on to fail; what they raise tells it.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
