"""The overflow scan: the float32 graph runs on real images, and every tensor's range is held
against half precision's.

float16 holds magnitudes up to 65504 and, with full precision, down to 2^-14; what is smaller loses
bits (subnormal) and below 2^-25 becomes zero. bfloat16 has float32's range and 8 bits of precision:
nothing overflows there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from compress.engine.errors import ExportError
from export.targets.shapes import element_types

MAX_HALF = 65504.0
HEADROOM = 4.0
"""Images that were not scanned may drive an activation further: a tensor is near overflow above
MAX_HALF / HEADROOM.
"""
NORMAL_HALF = 2.0**-14
TENSORS_AT_ONCE = (
    256  # outputs of one session; a ViT-L/14 has thousands of tensors of about a megabyte
)


@dataclass(frozen=True)
class TensorRange:
    """One tensor over all scanned images.

    Attributes:
        name: of the tensor.
        max_abs: its largest magnitude; infinite where it is not finite.
        subnormal_share: share of its non-zero values that float16 holds with fewer bits, or not at
            all.
    """

    name: str
    max_abs: float
    subnormal_share: float

    @property
    def near_overflow(self) -> bool:
        """Whether float16 overflows, or would on an image a little further out."""
        return not self.max_abs <= MAX_HALF / HEADROOM

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def scan(model: ModelProto, batches: Iterable[NDArray[np.float32]]) -> dict[str, TensorRange]:
    """Tensor name -> its range, for every float32 tensor that a node makes.

    Args:
        model: a float32 model with one input ``images``.
        batches: normalized images ``(b, 3, S, S)``; each is one pass.

    Raises:
        ExportError: there is no image, or the float32 model itself is not finite on one.
    """
    types = element_types(model)
    names = [
        name
        for node in model.graph.node
        for name in node.output
        if name and types.get(name) == TensorProto.FLOAT
    ]
    chunks = list(batches)
    if not chunks:
        raise ExportError(
            "the overflow scan has no images",
            expected="golden vectors in the bundle, or --images DIR",
        )
    peaks, small, nonzero = (dict.fromkeys(names, 0.0) for _ in range(3))
    for start in range(0, len(names), TENSORS_AT_ONCE):
        part = names[start : start + TENSORS_AT_ONCE]
        session = _session_with(model, part)
        for batch in chunks:
            for name, values in zip(
                part, session.run(part, {model.graph.input[0].name: batch}), strict=True
            ):
                size = np.abs(values)
                peak = float(size.max(initial=0.0))
                if not np.isfinite(peak):
                    raise ExportError(
                        f"{name} is not finite in float32", got=peak, expected="finite activations"
                    )
                peaks[name] = max(peaks[name], peak)
                small[name] += int(((size > 0) & (size < NORMAL_HALF)).sum())
                nonzero[name] += int((size > 0).sum())
    return {
        name: TensorRange(name, peaks[name], small[name] / max(nonzero[name], 1)) for name in names
    }


def _session_with(model: ModelProto, names: list[str]) -> Any:
    """A session that gives every tensor in ``names``; optimizations stay off, or some would not
    exist.
    """
    import onnxruntime

    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
