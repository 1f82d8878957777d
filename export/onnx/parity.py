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

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compress.engine.errors import ParityError
from export.onnx.graph import OUTPUT
from runtime.bundle import FEATURES, INPUT
from runtime.host.telemetry import usable_cores

NUDGE = 1e-6  # movement of the inputs for the noise floor, in units of the normalized image
FLOORS = 3.0
# Tolerance beyond the noise: float kernels reorder sums, an int8 file may have a finer grid.
SHARE_OF_RANGE = {"fp32": 1e-3, "int8": 0.10}
EXPECTED_AGREEMENT = 0.995  # share of images with the same class, for a trained student

Logits = NDArray[np.float32]
Outputs = Mapping[str, Logits]  # "logits" (n, K), "features" (n, D)


@dataclass(frozen=True)
class FeatureParity:
    """The features of a file against its torch model's, judged as the logits are."""

    max_abs_diff: float  # of one value of a unit row
    noise_floor: float
    batch_diff: float
    tolerance: float  # limit of max_abs_diff and batch_diff
    worst_image: int  # that of the largest difference
    least_cosine: float  # over all images


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
    features: FeatureParity | None = None  # None: features were not compared


def cpu_session(model: str | bytes, *, fused: bool = True) -> Any:
    """A session on one CPU thread; without ``fused`` every operator runs as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_outputs(
    path: Path, outputs: Sequence[str] = (OUTPUT,), *, fused: bool = True
) -> Callable[[Logits], dict[str, Logits]]:
    """``images (B, 3, S, S) -> name -> (B, ...)`` by onnxruntime, for any number of images.

    Every core has a batch of its own, on one thread: the numbers do not depend on the cores.
    """
    session = cpu_session(str(path), fused=fused)

    def run(images: Logits, batch: int = 16) -> dict[str, Logits]:
        starts = range(0, len(images), batch)
        feeds = ({INPUT: images[at : at + batch]} for at in starts)
        with ThreadPoolExecutor(min(usable_cores(), len(starts)) or 1) as cores:
            parts = list(cores.map(partial(session.run, list(outputs)), feeds))
        columns = zip(*parts, strict=True)
        whole = [np.concatenate(column).astype(np.float32) for column in columns]
        return dict(zip(outputs, whole, strict=True))

    return run


def onnx_logits(
    path: Path, output: str = OUTPUT, *, fused: bool = True
) -> Callable[[Logits], Logits]:
    """``onnx_outputs`` of one output."""
    run = onnx_outputs(path, (output,), fused=fused)
    return lambda images: run(images)[output]


def torch_logits(
    model: Callable[[torch.Tensor], torch.Tensor], images: Logits, batch: int = 16
) -> Logits:
    """``(n, K)`` logits of a torch model on ``images (n, 3, S, S)``."""
    parts = torch.from_numpy(images).split(batch)
    with torch.no_grad():
        return torch.cat([model(part) for part in parts]).numpy()


def torch_outputs(
    model: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    images: Logits,
    batch: int = 16,
    outputs: Sequence[str] = (OUTPUT, FEATURES),
) -> dict[str, Logits]:
    """Every output of a torch model on ``images (n, 3, S, S)``, in the order of ``outputs``."""
    with torch.no_grad():
        parts = [model(part) for part in torch.from_numpy(images).split(batch)]
    whole = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    return dict(zip(outputs, whole, strict=True))


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
    runs = _Runs.of(path, images, (output,), precision)
    return runs.logits_parity(path.name, reference, output, SHARE_OF_RANGE[precision])


def compare_outputs(path: Path, reference: Outputs, images: Logits, *, precision: str) -> Parity:
    """``compare`` of logits and features in the same passes."""
    runs = _Runs.of(path, images, (OUTPUT, FEATURES), precision)
    share = SHARE_OF_RANGE[precision]
    parity = runs.logits_parity(path.name, reference[OUTPUT], OUTPUT, share)
    return replace(parity, features=runs.feature_parity(reference[FEATURES], share))


@dataclass(frozen=True)
class _Runs:
    """What a file gives: as it is written, with inputs nudged, as it ships, image by image."""

    written: Outputs
    nudged: Outputs
    shipped: Outputs
    alone: Sequence[Outputs]  # of the first few images, each in a batch of its own
    is_fused: bool  # whether the shipped kernels may differ from those of the file as written

    @classmethod
    def of(cls, path: Path, images: Logits, outputs: Sequence[str], precision: str) -> _Runs:
        shipped = onnx_outputs(path, outputs)
        is_fused = precision == "int8"
        run = onnx_outputs(path, outputs, fused=False) if is_fused else shipped
        written = run(images)
        nudged = run(images + np.float32(NUDGE))
        ran = shipped(images) if is_fused else written
        few = [shipped(images[index : index + 1]) for index in range(min(len(images), 4))]
        return cls(written, nudged, ran, few, is_fused)

    def noise(self, output: str) -> tuple[float, float | None, float]:
        """The noise floor, what fusions change (None without any), what the batch changes."""
        kernels = _largest(self.shipped[output], self.written[output]) if self.is_fused else None
        floor = max(_largest(self.nudged[output], self.written[output]), kernels or 0.0)
        each = (
            _largest(one[output][0], self.shipped[output][row])
            for row, one in enumerate(self.alone)
        )
        return floor, kernels, max(each, default=0.0)

    def logits_parity(self, file: str, reference: Logits, output: str, share: float) -> Parity:
        floor, kernels, batch = self.noise(output)
        logit_range = float(reference.max() - reference.min())
        difference = np.abs(self.written[output] - reference)
        same = self.shipped[output].argmax(1) == reference.argmax(1)
        return Parity(
            file=file,
            images=len(reference),
            max_abs_diff=_finite_max(difference),
            mean_abs_diff=float(difference.mean()),
            worst_image=_worst(difference),
            noise_floor=floor,
            batch_diff=batch,
            logit_range=logit_range,
            tolerance=share * logit_range + FLOORS * floor,
            agreement=float(same.mean()),
            as_expected=int((~same).sum()) <= allowed_disagreements(len(same)),
            kernel_diff=kernels,
        )

    def feature_parity(self, reference: Logits, share: float) -> FeatureParity:
        floor, _, batch = self.noise(FEATURES)
        difference = np.abs(self.written[FEATURES] - reference)
        spread = float(reference.max() - reference.min())
        cosines = (self.shipped[FEATURES] * reference).sum(1)
        return FeatureParity(
            _finite_max(difference),
            floor,
            batch,
            share * spread + FLOORS * floor,
            _worst(difference),
            float(np.nan_to_num(cosines, nan=-1.0).min()),
        )


def _largest(first: Logits, second: Logits) -> float:
    return float(np.abs(first - second).max())


def _finite_max(difference: Logits) -> float:
    return float(difference.max()) if np.isfinite(difference).all() else float("inf")


def _worst(difference: Logits) -> int:
    return int(np.nan_to_num(difference, nan=np.inf).max(1).argmax())


def require(parity: Parity) -> Parity:
    """Returns ``parity`` if the file computes what was trained; raises ParityError otherwise."""
    same = f"the same class on {parity.agreement:.1%} of {parity.images}"
    _require(parity, parity.file, f"a logit difference of {{}}, {same}")
    if parity.features is not None:
        cosine = f"a cosine of at least {parity.features.least_cosine:.4f}"
        what = f"{parity.file} (features)"
        _require(parity.features, what, f"a difference of {{}} in a unit row, {cosine}")
    return parity


def _require(parity: Parity | FeatureParity, what: str, got: str) -> None:
    differences = {"its torch model": parity.max_abs_diff, "itself at batch 1": parity.batch_diff}
    for other, value in differences.items():
        if not value <= parity.tolerance:
            raise ParityError(
                f"{what} disagrees with {other} on image {parity.worst_image}",
                got=got.format(f"{value:.4g}"),
                expected=f"at most {parity.tolerance:.4g} (noise floor {parity.noise_floor:.4g})",
                remedy="report the student's architecture, and ship another one",
            )
