"""The overflow scan: each tensor's range on real images, in float32, against that of float16.

float16 holds magnitudes up to 65504 and, with full precision, down to 2^-14; smaller ones lose bits
(subnormal) and below 2^-25 become zero. bfloat16 has float32's range and 8 bits of precision:
nothing overflows there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from compress.engine.errors import ExportError
from export.onnx.parity import cpu_session
from export.targets.shapes import infer
from runtime.bundle import INPUT

MAX_HALF = 65504.0
# Other images may drive an activation further: near overflow is above MAX_HALF / HEADROOM.
HEADROOM = 4.0
NORMAL_HALF = 2.0**-14
TENSORS_AT_ONCE = 256  # of one session; a ViT-L/14 has thousands of about a megabyte each


@dataclass(frozen=True)
class TensorRange:
    """One tensor over all scanned images."""

    name: str
    max_abs: float  # its largest magnitude
    # share of its non-zero values that float16 holds with fewer bits, or not at all
    subnormal_share: float

    @property
    def near_overflow(self) -> bool:
        """Whether float16 overflows, or would on an image a little further out."""
        return not self.max_abs <= MAX_HALF / HEADROOM


def scan(model: ModelProto, batches: Iterable[NDArray[np.float32]]) -> dict[str, TensorRange]:
    """Tensor name -> its range, for every float32 tensor that a node computes.

    Args:
        batches: normalized images ``(b, 3, S, S)``; each is one pass.

    Raises: ExportError: there is no image, or the float32 model itself is not finite on one.
    """
    types = infer(model)
    outputs = [name for node in model.graph.node for name in node.output if name]
    names = [n for n in outputs if n in types and types[n].elem_type == TensorProto.FLOAT]
    chunks = list(batches)
    if not chunks:
        expected = "golden vectors in the bundle, or --images DIR"
        raise ExportError("the overflow scan has no images", expected=expected)
    peaks, small, nonzero = (dict.fromkeys(names, 0.0) for _ in range(3))
    for start in range(0, len(names), TENSORS_AT_ONCE):
        part = names[start : start + TENSORS_AT_ONCE]
        probe = copy.deepcopy(model)
        del probe.graph.output[:]
        infos = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in part)
        probe.graph.output.extend(infos)
        session = cpu_session(probe.SerializeToString(), fused=False)  # fusions remove tensors
        for batch in chunks:
            tensors = session.run(part, {INPUT: batch})
            for name, values in zip(part, tensors, strict=True):
                size = np.abs(values)
                peak = float(size.max(initial=0.0))
                if not np.isfinite(peak):
                    what = f"{name} is not finite in float32"
                    raise ExportError(what, got=peak, expected="finite activations")
                peaks[name] = max(peaks[name], peak)
                small[name] += int(((size > 0) & (size < NORMAL_HALF)).sum())
                nonzero[name] += int((size > 0).sum())
    return {
        name: TensorRange(name, peaks[name], small[name] / max(nonzero[name], 1)) for name in names
    }
