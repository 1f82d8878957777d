"""Compares a target with the model it comes from, on real images, by an engine that runs it here.

The tolerance is a share of the logits' range, by what the target changes, plus three times the
noise floor: how far the source's logits move when every input moves by 1e-6 (export/onnx/parity.py
gives the reasons).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

import runtime
from compress.engine.errors import ParityError
from export.onnx.graph import OUTPUT, OUTPUTS
from export.onnx.parity import FLOORS, NUDGE, Outputs, allowed_disagreements, cpu_session
from export.targets.pictures import Pictures, crops
from export.targets.pixels import IMAGE, cropped_pixels
from runtime.backends import TENSOR, Runner, readers
from runtime.backends import load as load_model
from runtime.bundle import FEATURES, INPUT
from runtime.errors import BackendError
from runtime.preprocess import PreprocessSpec

BATCH = 16
REFERENCE_IMAGES = 2  # onnx's reference evaluator takes 1 s for 1 ms of onnxruntime
# Of 255, on average: a resize without antialiasing is 0.3 to 0.7 off, this one about 0.01.
MAX_MEAN_PIXEL = 0.25

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class TargetParity:
    """A target against the model it comes from; differences are in units of logits."""

    against: str  # key of the source model
    engine: str  # what ran the target
    images: int
    images_from: str
    max_abs_diff: float  # over all images and classes
    mean_abs_diff: float
    logit_range: float  # largest minus smallest logit of the source
    noise_floor: float  # largest change of the source's logits when every input moves by 1e-6
    tolerance: float | None  # of max_abs_diff; None: preprocessing differs, agreement decides
    agreement: float  # share of images with the same first class
    pixel_max: float | None = None  # in 1/255; None: preprocessing is the reference
    pixel_mean: float | None = None
    # largest difference of a value of a unit row; None: one of the two models has no features
    features_max_abs_diff: float | None = None


@dataclass(frozen=True)
class SourceModel:
    """The model of the bundle that a target comes from, and the images of the comparison."""

    key: str
    runner: Runner
    pictures: Pictures
    spec: PreprocessSpec

    def outputs(self, tensor: Logits) -> tuple[Outputs, Outputs]:
        """What it gives, and what it gives when every input moves by ``NUDGE``."""
        ran, nudged = (
            in_batches(runs(self.runner), images) for images in (tensor, tensor + np.float32(NUDGE))
        )
        return ran, nudged


def runs(runner: Runner) -> Callable[[Any], Outputs]:
    """Logits, and features where the model has them, of one batch."""
    outputs = [name for name in OUTPUTS if name in runner.outputs]
    return lambda images: runner.run_all(images, outputs)


def in_batches(run: Callable[[Any], Outputs], images: Any, step: int = BATCH) -> Outputs:
    """Outputs ``(n, ...)`` of any number of images, ``step`` of them in one call."""
    return joined([run(images[start : start + step]) for start in range(0, len(images), step)])


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Outputs of several batches."""
    return {
        name: np.concatenate([part[name] for part in parts]).astype(np.float32) for name in parts[0]
    }


def against_source(
    key: str, runner: Runner, source: SourceModel, share: float, engine: str
) -> TargetParity:
    """Compares a target that takes cropped pixels or tensors with its source, on every picture.

    Raises: ParityError: it computes something else.
    """
    tensor = source.pictures.normalized(source.spec)
    takes_tensor = getattr(runner, "takes", TENSOR) == TENSOR
    ran = in_batches(runs(runner), tensor if takes_tensor else source.pictures.pixels)
    where = source.pictures.source
    return _judged(key, source.key, engine, where, ran, source.outputs(tensor), share)


def with_reference_evaluator(
    key: str, model: ModelProto, source: SourceModel, share: float
) -> TargetParity:
    """``against_source`` by onnx's reference evaluator, for types that no engine here runs.

    Raises:
        ParityError: as ``against_source``.
        Exception: whatever the evaluator raises for an operator that it lacks in this type.
    """
    from onnx.reference import ReferenceEvaluator

    tensor = source.pictures.normalized(source.spec)[:REFERENCE_IMAGES]
    evaluator: Any = ReferenceEvaluator(model)
    names = [value.name for value in model.graph.output if value.name in OUTPUTS]

    def run(batch: Logits) -> Outputs:
        return dict(zip(names, evaluator.run(names, {INPUT: batch}), strict=True))

    engine = "onnx reference evaluator"
    where = f"the first {len(tensor)} of {source.pictures.source}"
    ran = in_batches(run, tensor, 1)
    return _judged(key, source.key, engine, where, ran, source.outputs(tensor), share)


def whole_images(
    key: str, runner: Runner, model: ModelProto, source: SourceModel, share: float, engine: str
) -> TargetParity:
    """Compares a target that resizes and crops by itself, in two parts.

    Its network with the source, on the very pixels that the graph crops; and all of it with the
    reference preprocessing and the source, which is returned.

    Raises:
        ParityError: the network computes something else, pixels differ by more than a quarter of a
            step of 255 on average, or labels differ.
    """
    images = source.pictures.many_sizes(source.spec)
    arrays = [np.asarray(image)[None] for image in images]
    ran = joined([runs(runner)(array) for array in arrays])
    front = cpu_session(cropped_pixels(model).SerializeToString())
    # uint8 (n, S, S, 3): whole numbers in 0..255 already
    parts = [front.run(None, {IMAGE: array})[0].transpose(0, 2, 3, 1) for array in arrays]
    cropped = np.concatenate(parts).astype(np.uint8)
    reference = crops(images, source.spec)
    inside = source.outputs(runtime.normalize(cropped, source.spec))
    where = f"of other sizes than the model's, from {source.pictures.source}"
    _judged(key, source.key, engine, where, ran, inside, share)
    difference = np.abs(cropped.astype(np.float32) - reference)
    pixels = float(difference.max()), float(difference.mean())
    expected = source.outputs(runtime.normalize(reference, source.spec))
    parity = _judged(key, source.key, engine, where, ran, expected, None, pixels)
    if difference.mean() > MAX_MEAN_PIXEL:
        got = f"pixels {difference.mean():.2f} of 255 off on average"
        raise ParityError(
            f"{key} does not preprocess as the reference does",
            got=f"{got}, at most {MAX_MEAN_PIXEL:g} allowed",
            remedy="ship the u8in target, which takes cropped pixels",
        )
    return parity


def _judged(
    key: str,
    against: str,
    engine: str,
    where: str,
    ran: Outputs,
    of_source: tuple[Outputs, Outputs],
    share: float | None,
    pixels: tuple[float | None, float | None] = (None, None),
) -> TargetParity:
    """The comparison of what a target gave with its source's outputs, as they are and nudged."""
    expected, nudged = (outputs[OUTPUT] for outputs in of_source)
    logits = ran[OUTPUT]
    floor = float(np.abs(nudged - expected).max())
    difference = np.abs(logits - expected)
    spread = float(np.ptp(expected))
    largest = float(difference.max())
    tolerance = None if share is None else share * spread + FLOORS * floor
    same = logits.argmax(1) == expected.argmax(1)
    agreement = float(same.mean())
    is_finite = bool(np.isfinite(logits).all())
    allowed = allowed_disagreements(len(same))
    is_close = tolerance is None or largest <= tolerance
    if not is_finite or not is_close or int((~same).sum()) > allowed:
        seen = f"a logit difference of {largest:.4g}, the same class on {agreement:.1%} of "
        limit = f"the same class on all but {allowed}"
        if tolerance is not None:
            limit = f"at most {tolerance:.4g} (noise floor {floor:.4g}), and {limit}"
        raise ParityError(
            f"{key} disagrees with {against}; nothing was written",
            got=f"{seen}{len(same)} images" if is_finite else "logits that are not finite",
            expected=limit,
        )
    mean = float(difference.mean())
    features = _features_off(key, against, ran, of_source, share)
    measured = (len(logits), where, largest, mean, spread, floor, tolerance, agreement)
    return TargetParity(against, engine, *measured, *pixels, features)


def _features_off(
    key: str, against: str, ran: Outputs, of_source: tuple[Outputs, Outputs], share: float | None
) -> float | None:
    """The largest difference of a feature, judged as the logits are; None where there is none."""
    if not all(FEATURES in outputs for outputs in (ran, *of_source)):
        return None
    expected, nudged = (outputs[FEATURES] for outputs in of_source)
    largest = float(np.abs(ran[FEATURES] - expected).max())
    if share is not None:
        floor = float(np.abs(nudged - expected).max())
        tolerance = share * float(np.ptp(expected)) + FLOORS * floor
        if not largest <= tolerance:
            raise ParityError(
                f"{key} disagrees with {against} in its features; nothing was written",
                got=f"a difference of {largest:.4g} in a row of length 1",
                expected=f"at most {tolerance:.4g} (noise floor {floor:.4g})",
            )
    return largest


def load(file: Path) -> Runner:
    """The file in the engine for it, one thread; raises BackendError if that cannot run it."""
    engines = readers(file.suffix)
    if not engines:
        raise BackendError(f"no engine here reads {file.name}")
    return load_model(engines[0], file, threads=1)


def engine_of(runner: Runner) -> str:
    """What ran a model, in words: "onnxruntime 1.31.1 CPUExecutionProvider"."""
    (name, version), *_ = runner.versions.items()
    return f"{name} {version} {runner.provider}"
