"""Does a target compute what the file it came from computes? Measured on real images, by an engine
that runs it here.

The tolerance is a share of the logits' range, by what the target changes, plus three times the
noise floor: what the source file does when every input moves by 1e-6 (export/onnx/parity.py says
    why).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

import runtime
from compress.engine.errors import ParityError
from export.onnx.parity import EXPECTED_AGREEMENT, FLOORS, NUDGE
from export.targets.pictures import Pictures
from export.targets.pixels import IMAGE, cropped_pixels
from runtime.backends import TENSOR, Runner
from runtime.backends import load as load_model
from runtime.preprocess import PreprocessSpec, geometry

BATCH = 16
REFERENCE_IMAGES = (
    2  # onnx's reference evaluator takes a second for what onnxruntime does in a millisecond
)
MAX_MEAN_PIXEL = (
    0.25  # of 255, on average: a resize without antialiasing is 0.3 to 0.7 off, this one about 0.01
)

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class TargetParity:
    """A target against the file it came from; differences are in units of logits.

    Attributes:
        against: key of the source model.
        engine: what ran the target.
        images, images_from: how many, and where they come from.
        max_abs_diff, mean_abs_diff: over all images and classes.
        logit_range: largest minus smallest logit of the source.
        noise_floor: largest change of the source's logits when every input moves by 1e-6.
        tolerance: what ``max_abs_diff`` was allowed to be; None where preprocessing differs, and
            agreement decides.
        agreement: share of images with the same first class.
        pixel_max, pixel_mean: difference of the preprocessed pixels, in 1/255; None where
            preprocessing is the reference.
    """

    against: str
    engine: str
    images: int
    images_from: str
    max_abs_diff: float
    mean_abs_diff: float
    logit_range: float
    noise_floor: float
    tolerance: float | None
    agreement: float
    pixel_max: float | None = None
    pixel_mean: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def in_batches(run: Callable[[Any], Logits], images: Any, step: int = BATCH) -> Logits:
    """``(n, K)`` logits of any number of images, ``step`` of them in one call."""
    parts = [run(images[start : start + step]) for start in range(0, len(images), step)]
    return np.concatenate(parts).astype(np.float32)


def against_source(
    key: str,
    runner: Runner,
    source_key: str,
    source: Runner,
    pictures: Pictures,
    spec: PreprocessSpec,
    share: float,
    engine: str,
) -> TargetParity:
    """Compares a target that takes cropped pixels or tensors with its source, on every picture.

    Raises:
        ParityError: it computes something else.
    """
    tensor = pictures.normalized(spec)
    wanted, floor = _logits_and_floor(source, tensor)
    made = in_batches(
        runner.run, tensor if getattr(runner, "takes", TENSOR) == TENSOR else pictures.pixels
    )
    return _judged(key, source_key, engine, pictures.source, made, wanted, floor, share)


def with_reference_evaluator(
    key: str,
    model: ModelProto,
    source_key: str,
    source: Runner,
    pictures: Pictures,
    spec: PreprocessSpec,
    share: float,
) -> TargetParity:
    """``against_source`` on the first few pictures, by onnx's reference evaluator: for types that
    no engine here runs.

    Raises:
        ParityError: as ``against_source``.
        Exception: whatever the evaluator raises for an operator that it lacks in this type.
    """
    from onnx.reference import ReferenceEvaluator

    tensor = pictures.normalized(spec)[:REFERENCE_IMAGES]
    wanted, floor = _logits_and_floor(source, tensor)
    evaluator: Any = ReferenceEvaluator(model)
    made = in_batches(
        lambda batch: evaluator.run(["logits"], {model.graph.input[0].name: batch})[0], tensor, 1
    )
    where = f"the first {len(tensor)} of {pictures.source}"
    return _judged(key, source_key, "onnx reference evaluator", where, made, wanted, floor, share)


def whole_images(
    key: str,
    runner: Runner,
    model: ModelProto,
    source_key: str,
    source: Runner,
    pictures: Pictures,
    spec: PreprocessSpec,
    share: float,
    engine: str,
) -> TargetParity:
    """Compares a target that resizes and crops by itself, in two parts.

    Its network with the source, on the very pixels that the graph cut out; and all of it with the
    reference preprocessing and the source, which is what is returned.

    Raises:
        ParityError: the network computes something else, pixels differ by more than a quarter of a
            step of 255 on average, or labels differ.
    """
    images = pictures.many_sizes(spec)
    arrays = [np.asarray(image)[None] for image in images]
    made = np.concatenate([runner.run(array) for array in arrays])
    cut, reference = _cut_out(model, arrays), np.stack([geometry(image, spec) for image in images])
    inside, floor = _logits_and_floor(source, runtime.normalize(cut, spec))
    where = f"of other sizes than the model's, from {pictures.source}"
    _judged(key, source_key, engine, where, made, inside, floor, share)
    difference = np.abs(cut.astype(np.float32) - reference)
    wanted, floor = _logits_and_floor(source, runtime.normalize(reference, spec))
    parity = _judged(
        key,
        source_key,
        engine,
        where,
        made,
        wanted,
        floor,
        None,
        float(difference.max()),
        float(difference.mean()),
    )
    if difference.mean() > MAX_MEAN_PIXEL:
        raise ParityError(
            f"{key} does not preprocess as the reference does",
            got=f"pixels {difference.mean():.2f} of 255 off on average",
            expected=f"at most {MAX_MEAN_PIXEL:g}",
            remedy="ship the u8in target, which takes cropped pixels",
        )
    return parity


def _cut_out(model: ModelProto, arrays: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """What the preprocessing in the graph makes of whole images, uint8 (n, S, S, 3)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    front = onnxruntime.InferenceSession(
        cropped_pixels(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    parts = [front.run(None, {IMAGE: array})[0].transpose(0, 2, 3, 1) for array in arrays]
    return np.concatenate(parts).astype(np.uint8)  # whole numbers in 0..255 already


def _logits_and_floor(source: Runner, tensor: Logits) -> tuple[Logits, float]:
    """The source's logits, and how far they move when every input moves by ``NUDGE``."""
    wanted = in_batches(source.run, tensor)
    return wanted, float(np.abs(in_batches(source.run, tensor + np.float32(NUDGE)) - wanted).max())


def _judged(
    key: str,
    against: str,
    engine: str,
    where: str,
    made: Logits,
    wanted: Logits,
    floor: float,
    share: float | None,
    pixel_max: float | None = None,
    pixel_mean: float | None = None,
) -> TargetParity:
    difference = np.abs(made - wanted)
    spread = float(np.ptp(wanted))
    tolerance = None if share is None else share * spread + FLOORS * floor
    same = made.argmax(1) == wanted.argmax(1)
    parity = TargetParity(
        against,
        engine,
        len(made),
        where,
        float(difference.max()),
        float(difference.mean()),
        spread,
        floor,
        tolerance,
        float(same.mean()),
        pixel_max,
        pixel_mean,
    )
    finite = bool(np.isfinite(made).all())
    allowed = max(1, int((1 - EXPECTED_AGREEMENT) * len(same)))
    close = tolerance is None or parity.max_abs_diff <= tolerance
    if not finite or not close or int((~same).sum()) > allowed:
        raise ParityError(
            f"{key} disagrees with {against}",
            got=f"a logit difference of {parity.max_abs_diff:.4g}, the same class on "
            f"{parity.agreement:.1%} of "
            f"{parity.images} images"
            if finite
            else "logits that are not finite",
            expected=f"at most {tolerance:.4g} (noise floor {floor:.4g}), and the same class "
            f"on all but {allowed}"
            if tolerance is not None
            else f"the same class on all but {allowed}",
            remedy="this target must not ship; nothing was written",
        )
    return parity


def load(file: Path) -> Runner:
    """The file in onnxruntime, one thread.

    Raises:
        BackendError: onnxruntime cannot run it.
    """
    return load_model("onnxruntime", file, threads=1)
