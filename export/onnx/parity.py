"""Compares an exported file with the torch model it comes from, against the file's own noise.

A rounding to int8 can flip when its input moves by one float ulp, and a flip travels. So no fixed
tolerance is right: the noise floor is how far the file's own logits move when every input pixel
moves by 1e-6, and a difference is an error only beyond a share of the logits' range plus three
times that floor. Real mistakes (a channel order, a scale, a missing ReLU) move logits by a good
part of their range.

An int8 file is judged operator by operator as it is written, without the engine's fusions. Fusions
round at other places, and in a fragile network (a hardly trained EfficientNet at 32 px) such flips
grow until labels change although the file is correct. So what fusions change (``kernel_diff``) is
noise too; ``agreement`` is that of the kernels that ship, and accuracy on the test set decides
whether it is good enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compress.engine.errors import ParityError
from export.onnx.graph import OUTPUT
from runtime.bundle import INPUT

NUDGE = 1e-6  # movement of the inputs for the noise floor, in units of the normalized image
FLOORS = 3.0
# Tolerance beyond the noise: float kernels reorder sums, an int8 file may have a finer grid.
SHARE_OF_RANGE = {"fp32": 1e-3, "int8": 0.10}
EXPECTED_AGREEMENT = 0.995  # share of images with the same class, for a trained student

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """One file against the torch model it comes from; differences are in units of logits."""

    file: str
    images: int
    max_abs_diff: float  # over all images and classes
    mean_abs_diff: float
    worst_image: int  # index of the image with the largest difference
    # largest change of the file's own logits when every input moves by NUDGE, or kernel_diff
    noise_floor: float
    batch_diff: float  # largest difference between batch 1 and a full batch, on a few images
    logit_range: float  # largest minus smallest logit of the torch model
    tolerance: float  # limit of max_abs_diff and batch_diff
    agreement: float  # share of images with the same first class, with the kernels that ship
    as_expected: bool  # no more than allowed_disagreements have another class
    kernel_diff: float | None = None  # int8: fused kernels against the file without fusions


def cpu_session(model: str | bytes, *, fused: bool = True) -> Any:
    """A session on one CPU thread; without ``fused`` every operator runs as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_logits(
    path: Path, output: str = OUTPUT, *, fused: bool = True
) -> Callable[[Logits], Logits]:
    """``images (B, 3, S, S) -> logits (B, K)`` by onnxruntime, for any number of images."""
    session = cpu_session(str(path), fused=fused)

    def run(images: Logits, batch: int = 16) -> Logits:
        starts = range(0, len(images), batch)
        parts = [session.run([output], {INPUT: images[at : at + batch]})[0] for at in starts]
        return np.concatenate(parts).astype(np.float32)

    return run


def torch_logits(
    model: Callable[[torch.Tensor], torch.Tensor], images: Logits, batch: int = 64
) -> Logits:
    """``(n, K)`` logits of a torch model on ``images (n, 3, S, S)``."""
    parts = torch.from_numpy(images).split(batch)
    with torch.no_grad():
        return torch.cat([model(part) for part in parts]).numpy()


def allowed_disagreements(images: int) -> int:
    """How many images may get another class: at least one."""
    return max(1, int((1 - EXPECTED_AGREEMENT) * images))


def compare(
    path: Path, reference: Logits, images: Logits, *, precision: str, output: str = OUTPUT
) -> Parity:
    """Runs an ONNX file on ``images`` and compares it with the torch model's logits.

    Args:
        reference: ``(n, K)`` logits of the torch model (fake-quantized for an int8 file).
        images: ``(n, 3, S, S)`` float32, normalized.
        precision: "fp32" or "int8".
    """
    shipped = onnx_logits(path, output)
    run = onnx_logits(path, output, fused=False) if precision == "int8" else shipped
    logits = run(images)
    nudged = run(images + np.float32(NUDGE))
    ran = logits if run is shipped else shipped(images)
    few = images[:4]
    alone = (float(np.abs(shipped(few[i : i + 1]) - ran[i]).max()) for i in range(len(few)))
    kernel_diff = None if run is shipped else float(np.abs(ran - logits).max())
    floor = max(float(np.abs(nudged - logits).max()), kernel_diff or 0.0)
    logit_range = float(reference.max() - reference.min())
    difference = np.abs(logits - reference)
    same = ran.argmax(1) == reference.argmax(1)
    return Parity(
        file=path.name,
        images=len(images),
        max_abs_diff=float(difference.max()) if np.isfinite(difference).all() else float("inf"),
        mean_abs_diff=float(difference.mean()),
        worst_image=int(np.nan_to_num(difference, nan=np.inf).max(1).argmax()),
        noise_floor=floor,
        batch_diff=max(alone, default=0.0),
        logit_range=logit_range,
        tolerance=SHARE_OF_RANGE[precision] * logit_range + FLOORS * floor,
        agreement=float(same.mean()),
        as_expected=int((~same).sum()) <= allowed_disagreements(len(same)),
        kernel_diff=kernel_diff,
    )


def require(parity: Parity) -> Parity:
    """Returns ``parity`` if the file computes what was trained; raises ParityError otherwise."""
    differences = {"its torch model": parity.max_abs_diff, "itself at batch 1": parity.batch_diff}
    for other, value in differences.items():
        if not value <= parity.tolerance:
            same = f"the same class on {parity.agreement:.1%} of {parity.images}"
            raise ParityError(
                f"{parity.file} disagrees with {other} on image {parity.worst_image}",
                got=f"a logit difference of {value:.4g}, {same}",
                expected=f"at most {parity.tolerance:.4g} (noise floor {parity.noise_floor:.4g})",
                remedy="report the student's architecture, and ship another one",
            )
    return parity
