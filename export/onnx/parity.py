"""Does the exported file compute what was trained? Measured on real images, judged against the
file's own noise.

A rounding to int8 can flip when its input moves by one float ulp, and a flip travels. So no fixed
tolerance is right: the noise floor is what the same file does when every input pixel moves by 1e-6,
    and a difference is an error only
beyond a share of the logits' range plus three times that floor. Real mistakes (a channel order, a
scale, a missing ReLU) move logits by a good part of their range.

An int8 file is judged operator by operator as it is written, without the engine's fusions. These
round at other places, and in a fragile network (a hardly trained EfficientNet at 32 px) such flips
grow until labels change although nothing is wrong with the file. So what fusions change
(``kernel_diff``) is noise too; ``agreement`` is that of the kernels that ship, and whether it is
good enough is decided by accuracy on the test set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.errors import ParityError

NUDGE = 1e-6
"""How far the inputs are moved for the noise floor, in units of the normalized image."""
FLOORS = 3.0
SHARE_OF_RANGE = {"fp32": 1e-3, "int8": 0.10}
"""Tolerance beyond the noise: float kernels reorder sums; an int8 file may sit on a finer grid
(qdq.py).
"""
EXPECTED_AGREEMENT = 0.995
"""Share of images on which a trained student's file and its torch model name the same class."""

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """One file against the torch model it came from; differences are in units of logits.

    Attributes:
        file: the file's name.
        images: how many images were compared.
        max_abs_diff, mean_abs_diff: over all images and classes.
        worst_image: index of the image with the largest difference.
        noise_floor: largest change of the file's own logits when every input moves by ``NUDGE``, or
            by ``kernel_diff``.
        kernel_diff: largest difference between the engine's fused kernels and the same file without
            fusions; int8 only.
        batch_diff: largest difference between batch 1 and a full batch, on a few images.
        logit_range: largest minus smallest logit of the torch model.
        tolerance: what ``max_abs_diff`` and ``batch_diff`` were allowed to be.
        agreement: share of images with the same first class, with the kernels that ship.
        as_expected: agreement reached ``EXPECTED_AGREEMENT`` (at least all images but one, when
            there are few).
    """

    file: str
    images: int
    max_abs_diff: float
    mean_abs_diff: float
    worst_image: int
    noise_floor: float
    batch_diff: float
    logit_range: float
    tolerance: float
    agreement: float
    as_expected: bool
    kernel_diff: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for parity.json."""
        return asdict(self)


def onnx_logits(
    path: Path, output: str = "logits", *, fused: bool = True
) -> Callable[[Logits], Logits]:
    """``images (B, 3, S, S) -> logits (B, K)`` by onnxruntime on one CPU thread, for any number of
    images.

    Without ``fused`` every operator runs as it is written.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Logits, batch: int = 16) -> Logits:
        parts = [
            session.run([output], {"images": images[at : at + batch]})[0]
            for at in range(0, len(images), batch)
        ]
        return np.concatenate(parts).astype(np.float32)

    return run


def compare(
    path: Path, reference: Logits, images: Logits, *, precision: str, output: str = "logits"
) -> Parity:
    """Runs the file on ``images`` and compares it with the torch model's logits.

    Args:
        path: an ONNX file.
        reference: ``(n, K)`` logits of the torch model (fake-quantized for an int8 file).
        images: ``(n, 3, S, S)`` float32, normalized.
        precision: "fp32" or "int8".
    """
    shipped = onnx_logits(path, output)
    run = onnx_logits(path, output, fused=False) if precision == "int8" else shipped
    made, nudged = run(images), run(images + np.float32(NUDGE))
    ran = made if run is shipped else shipped(images)
    few = images[:4]
    batch_diff = max(
        (float(np.abs(shipped(few[i : i + 1]) - ran[i]).max()) for i in range(len(few))),
        default=0.0,
    )
    kernel_diff = None if run is shipped else float(np.abs(ran - made).max())
    floor = max(float(np.abs(nudged - made).max()), kernel_diff or 0.0)
    logit_range = float(reference.max() - reference.min())
    difference = np.abs(made - reference)
    same = ran.argmax(1) == reference.argmax(1)
    return Parity(
        file=path.name,
        images=len(images),
        max_abs_diff=float(difference.max()) if np.isfinite(difference).all() else float("inf"),
        mean_abs_diff=float(difference.mean()),
        worst_image=int(np.nan_to_num(difference, nan=np.inf).max(1).argmax()),
        noise_floor=floor,
        batch_diff=batch_diff,
        logit_range=logit_range,
        tolerance=SHARE_OF_RANGE[precision] * logit_range + FLOORS * floor,
        agreement=float(same.mean()),
        as_expected=int((~same).sum()) <= max(1, int((1 - EXPECTED_AGREEMENT) * len(same))),
        kernel_diff=kernel_diff,
    )


def require(parity: Parity) -> Parity:
    """Returns ``parity`` if the file computes what was trained.

    Raises:
        ParityError: names the file, the worst image, the difference and the tolerance.
    """
    for what, value in (
        ("its torch model", parity.max_abs_diff),
        ("itself at batch 1", parity.batch_diff),
    ):
        if not value <= parity.tolerance:
            raise ParityError(
                f"{parity.file} disagrees with {what} on image {parity.worst_image}",
                got=f"a logit difference of {value:.4g}, the same class on "
                f"{parity.agreement:.1%} of {parity.images}",
                expected=f"at most {parity.tolerance:.4g} (noise floor {parity.noise_floor:.4g})",
                remedy="the file must not ship; report the student's architecture, and ship "
                "another one",
            )
    return parity
