"""Golden vectors: the result of every step for a few images, to name the first step that differs.

golden.npz holds ``img_0 ...`` (encoded bytes, uint8 1-d), the SHA-256 of each decoded image, crop
and input tensor (``decoded``, ``cropped``, ``normalised``: text (N,)) and per model
``logits.<name>`` float32 (N, K) and, if it has them, ``features.<name>`` (N, D).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from runtime.backends import BACKENDS, Runner, readers
from runtime.backends.limited import ENGINE, Images, Outcome, outcomes
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.errors import BundleError, EdgeError
from runtime.files.golden_npz import read, write
from runtime.files.paths import bundle_path
from runtime.files.strict_json import read_json
from runtime.files.zipped import unpacked
from runtime.preprocess import MAX_PIXELS, PreprocessSpec, decode, geometry, normalize

__all__ = ["DIFFERS", "OK", "SKIPPED", "TARGETS_GOLDEN", "GoldenStep", "compare", "make", "read"]
__all__ += [
    "first_difference",
    "hash_of",
    "logits_of",
    "outputs_of",
    "unverified",
    "verify",
    "write",
]

MAX_IMAGES = 64
HEX = re.compile(r"[0-9a-f]{64}")
CONFIG = "config.json"  # the classes once more, for other libraries' loaders
TARGETS_GOLDEN = "golden.targets.npz"  # logits.<target> of export targets, on golden.npz's images
OK = "ok"
DIFFERS = "differs"
SKIPPED = "skipped"

# Largest difference of a logit, as a share of the golden logits' spread (max - min). Float kernels
# sum in another order on another processor; an int8 activation at a rounding edge moves one step of
# 255, and others with it.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 5e-2, "int8": 5e-2}
OTHER_TOLERANCE = 5e-2

# First word of a step's name -> what to do if the step differs.
REMEDIES = {
    "files": "copy the bundle again, or rebuild it with compress build",
    "golden": "rebuild the bundle with compress build",
    "decoded": "this Pillow decodes otherwise: pip install --upgrade pillow; if it stays, "
    "expect small differences",
    "cropped": "this Pillow resizes otherwise, or preprocess.json is another build's: "
    "pip install --upgrade pillow",
    "normalised": "preprocess.json is another build's, or this runtime another version: "
    "copy the bundle again, pip install --upgrade clip2edge",
    CONFIG: "its classes, for other loaders, are another build's: copy the bundle again, or "
    "rebuild it",
    "logits": "this engine or processor computes otherwise: pip install --upgrade onnxruntime, "
    "compare with fp32, and measure the accuracy here if the labels agree",
    "features": "this engine or processor computes otherwise: pip install --upgrade onnxruntime; "
    "what reads features may err here",
}


@dataclass(frozen=True)
class GoldenStep:
    """One step of the check: its name, "ok", "differs" or "skipped", and the evidence."""

    name: str
    state: str
    detail: str
    advice: str | None = None  # the error's own remedy, if any

    @property
    def remedy(self) -> str | None:
        """What to do if the step differs."""
        if self.state != DIFFERS:
            return None
        return self.advice or REMEDIES.get(self.name.partition(" ")[0])

    def to_json(self) -> dict[str, str | None]:
        """A JSON object, with the remedy."""
        row = {"name": self.name, "state": self.state, "detail": self.detail}
        return {**row, "remedy": self.remedy}


class Preprocessed(NamedTuple):
    """The golden images after each step; the fields are named as in golden.npz."""

    decoded: list[np.ndarray]  # uint8 (H, W, 3)
    cropped: np.ndarray  # uint8 (N, S, S, 3)
    normalised: np.ndarray  # float32 (N, 3, S, S)

    def images(self) -> Images:
        """What the models take of it."""
        return Images(self.normalised, self.cropped, self.decoded)

    def hashes(self) -> dict[str, list[str]]:
        """Step -> ``hash_of`` each image."""
        return {name: [hash_of(image) for image in getattr(self, name)] for name in self._fields}


def make(
    images: Sequence[bytes | np.ndarray],
    spec: PreprocessSpec,
    logits: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    features: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of golden.npz.

    Args:
        images: encoded images, or uint8 (H, W, 3), stored as PNG.
        logits: model name -> function from normalized images (N, 3, S, S) to logits (N, K).
        features: the same for features (N, D), of models that have them.

    Raises: BundleError: no image.
    """
    if not images:
        raise BundleError("golden vectors need images", got=0, expected="at least 1")
    encoded = [image if isinstance(image, bytes) else _png(image) for image in images]
    arrays = {f"img_{index}": np.frombuffer(data, np.uint8) for index, data in enumerate(encoded)}
    results = _preprocess(encoded, spec)
    arrays |= {name: np.array(hashes) for name, hashes in results.hashes().items()}
    tables = {f"logits.{name}": run(results.normalised) for name, run in logits.items()}
    unit = (features or {}).items()
    tables |= {f"features.{name}": run(results.normalised) for name, run in unit}
    return arrays | {name: table.astype(np.float32) for name, table in tables.items()}


def verify(path: str | Path, backend: str = ENGINE, threads: int | None = None) -> list[GoldenStep]:
    """Repeats every golden step on this machine, in order; a damaged bundle ends at "files".

    A step is "skipped" if this machine lacks what it needs, or the bundle the file: an unverified
    step is never "ok". Models run within limits of memory and time: a bundle may be a stranger's.
    """
    try:
        with unpacked(bundle_path(path)) as folder:
            return _verify(folder, backend, threads)
    except BundleError as error:  # of a zip file
        return [GoldenStep("files", DIFFERS, str(error), error.remedy)]


def _verify(folder: Path, backend: str, threads: int | None) -> list[GoldenStep]:
    try:
        bundle = open_bundle(folder, whole=False)
        golden = _vectors(bundle)
    except BundleError as error:
        return [GoldenStep("files", DIFFERS, str(error), error.remedy)]
    count = len(bundle.manifest["files"]) - len(bundle.absent)
    steps = [GoldenStep("files", OK, f"{count} files match their SHA-256")]
    if bundle.absent:
        names = ", ".join(sorted(bundle.absent))
        steps.append(GoldenStep("missing", SKIPPED, f"listed, but not in the bundle: {names}"))
    steps += _other_labels(bundle)
    if golden is None:
        return [*steps, GoldenStep("golden", SKIPPED, f"the bundle has no {GOLDEN}")]
    try:
        results = _preprocess(_encoded(golden), bundle.preprocess)
    except EdgeError as error:
        return [*steps, GoldenStep("decoded", DIFFERS, str(error))]
    steps += [_compare_hashes(name, own, golden[name]) for name, own in results.hashes().items()]
    models = {**bundle.models, **bundle.target_files}
    for rows in _run_all(bundle, models, golden, results, backend, threads).values():
        steps += rows
    twins = _run_all(bundle, bundle.twins, golden, results, ENGINE, threads)
    for precision, file in bundle.twins.items():
        named = file.relative_to(bundle.path).as_posix()
        steps += [
            replace(step, name=f"{step.name.partition(' ')[0]} {named}")
            for step in twins[precision]
        ]
    return steps


def _run_all(
    bundle: Bundle,
    models: Mapping[str, Path],
    golden: Mapping[str, np.ndarray],
    results: Preprocessed,
    engine: str,
    threads: int | None,
) -> dict[str, list[GoldenStep]]:
    """Precision -> the steps of its file's logits and features on the golden images."""
    steps = {}
    for precision, model in models.items():
        why = "its file is missing" if bundle.is_absent(model) else "no golden logits of this model"
        steps[precision] = [GoldenStep(f"logits {precision}", SKIPPED, why)]
    there = {
        precision: model
        for precision, model in models.items()
        if f"logits.{precision}" in golden and not bundle.is_absent(model)
    }
    images = results.images()
    ran: dict[str, Outcome] = {}
    for one in dict.fromkeys(_engine_for(model, engine) for model in there.values()):
        own = [key for key, model in there.items() if _engine_for(model, engine) == one]
        found = outcomes([there[key] for key in own], images, one, threads)
        ran |= dict(zip(own, found, strict=True))
    for precision in there:
        outcome = ran[precision]
        steps[precision] = [_judged(precision, outcome, golden[f"logits.{precision}"])]
        want = golden.get(f"features.{precision}")
        if want is not None and outcome.logits is not None:
            steps[precision].append(compare_features(precision, outcome.features, want))
    return steps


def _engine_for(model: Path, engine: str) -> str:
    """``engine`` if it reads the file, or is none; else the first that does."""
    others = readers(model.suffix)
    return others[0] if engine in BACKENDS and others and engine not in others else engine


def _judged(precision: str, outcome: Outcome, want: np.ndarray) -> GoldenStep:
    if outcome.logits is not None:
        return compare(precision, outcome.logits, want)
    state = DIFFERS if outcome.is_its_fault else SKIPPED
    return GoldenStep(f"logits {precision}", state, outcome.error)


def _vectors(bundle: Bundle) -> dict[str, np.ndarray] | None:
    """The arrays of golden.npz and of the export targets; None without golden.npz."""
    there = set(bundle.manifest["files"]) - bundle.absent
    if GOLDEN not in there:
        return None
    golden = read(bundle.path / GOLDEN)
    if TARGETS_GOLDEN in there:
        golden = {**read(bundle.path / TARGETS_GOLDEN), **golden}
    for problem in _problems(golden):
        what = f"{bundle.path / GOLDEN} holds no golden vectors"
        raise BundleError(what, got=problem, remedy=REMEDIES["golden"])
    return golden


def _problems(golden: Mapping[str, np.ndarray]) -> Iterator[str]:
    count = golden["decoded"].size if "decoded" in golden else 0
    if not 1 <= count <= MAX_IMAGES:
        yield f"{count} images, expected 1..{MAX_IMAGES}"
    for name in Preprocessed._fields:
        array = golden.get(name)
        is_row = array is not None and array.shape == (count,)
        if array is None or not is_row or not all(HEX.fullmatch(str(value)) for value in array):
            yield f"no {count} hashes of {name} images"
    for name in (f"img_{index}" for index in range(count)):
        if name not in golden or golden[name].dtype != np.uint8 or golden[name].ndim != 1:
            yield f"no encoded image {name}"
    for name, array in golden.items():
        is_table = array.ndim == 2 and array.dtype == np.float32 and len(array) == count
        is_valid = is_table and array.size > 0 and np.isfinite(array).all()
        if name.startswith(("logits.", "features.")) and not is_valid:
            yield f"{name} is {array.dtype} {array.shape}, expected finite float32 ({count}, width)"


def _encoded(golden: Mapping[str, np.ndarray]) -> list[bytes]:
    return [golden[f"img_{index}"].tobytes() for index in range(len(golden["decoded"]))]


def _other_labels(bundle: Bundle) -> list[GoldenStep]:
    """Whether config.json, if there is one, names the classes of labels.json."""
    if CONFIG not in bundle.manifest["files"] or CONFIG in bundle.absent:
        return []
    config = read_json(bundle.path / CONFIG)
    theirs = config.get("id2label") if isinstance(config, dict) else None
    ours = {str(index): label.name for index, label in enumerate(bundle.labels)}
    if theirs == ours:
        return [GoldenStep(CONFIG, OK, f"id2label names the {len(ours)} classes of labels.json")]
    detail = "id2label does not name the classes of labels.json in their order"
    return [GoldenStep(CONFIG, DIFFERS, detail)]


def first_difference(steps: Sequence[GoldenStep]) -> GoldenStep | None:
    """The first step that differs."""
    return next((step for step in steps if step.state == DIFFERS), None)


def unverified(steps: Sequence[GoldenStep]) -> str | None:
    """Why nothing is proved: no model gave its golden logits here."""
    models = [step for step in steps if step.name.startswith("logits ")]
    if any(step.state == OK for step in models):
        return None
    skipped = (step for step in (*models, *reversed(steps)) if step.state == SKIPPED)
    why = next((f": {step.name} was skipped, {step.detail}" for step in skipped), "")
    return f"no model could be verified{why}"


def _preprocess(encoded: Sequence[bytes], spec: PreprocessSpec) -> Preprocessed:
    """The images after each step; together they hold ``MAX_PIXELS`` at most."""
    decoded = []
    left = MAX_PIXELS
    for data in encoded:
        decoded.append(decode(data, max_pixels=left))
        left -= decoded[-1].width * decoded[-1].height
    cropped = np.stack([geometry(image, spec) for image in decoded])
    return Preprocessed([np.asarray(image) for image in decoded], cropped, normalize(cropped, spec))


def _compare_hashes(name: str, hashes: Sequence[str], golden: np.ndarray) -> GoldenStep:
    wrong = [index for index, own in enumerate(hashes) if own != str(golden[index])]
    same = f"{len(golden)} of {len(golden)} images are bit-identical"
    differ = f"image {', '.join(map(str, wrong))} of {len(golden)} is not the golden one"
    return GoldenStep(name, DIFFERS, differ) if wrong else GoldenStep(name, OK, same)


def outputs_of(
    runner: Runner, golden: Mapping[str, np.ndarray], spec: PreprocessSpec
) -> dict[str, np.ndarray]:
    """Logits (N, K) and, of a model that has them, features (N, D) of the images in golden.npz."""
    return _preprocess(_encoded(golden), spec).images().outputs(runner)


def logits_of(runner: Runner, golden: Mapping[str, np.ndarray], spec: PreprocessSpec) -> np.ndarray:
    """Logits (N, K) of the images in golden.npz, whatever the model ``takes``."""
    return outputs_of(runner, golden, spec)["logits"]


def compare(precision: str, got: np.ndarray, want: np.ndarray, name: str = "") -> GoldenStep:
    """Logits (N, K) of a model against the golden ones, within the precision's tolerance."""
    name = name or f"logits {precision}"
    if got.shape != want.shape or not np.isfinite(got).all():
        broken = f"{got.shape} with {np.sum(~np.isfinite(got))} not finite"
        return GoldenStep(name, DIFFERS, f"got {broken}, expected {want.shape}")
    tolerance = TOLERANCE.get(precision.split(".")[0], OTHER_TOLERANCE)
    worst = float(np.abs(got - want).max() / max(float(np.ptp(want)), 1e-6))
    agree = f"{int((got.argmax(1) == want.argmax(1)).sum())} of {len(want)} labels agree"
    largest = f"largest difference {worst:.2g} of the spread, tolerance {tolerance:g}"
    largest = largest if worst else "no difference"
    return GoldenStep(name, OK if worst <= tolerance else DIFFERS, f"{largest}; {agree}")


def compare_features(precision: str, got: np.ndarray | None, want: np.ndarray) -> GoldenStep:
    """Features (N, D) of a model against the golden ones, by the cosine of each pair of rows."""
    name = f"features {precision}"
    if got is None or got.shape != want.shape or not np.isfinite(got).all():
        shape = "none" if got is None else f"{got.shape}"
        return GoldenStep(name, DIFFERS, f"got {shape}, expected {want.shape}")
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    worst = float(((got * want).sum(1) / np.maximum(lengths, 1e-12)).min())
    least = 1 - TOLERANCE.get(precision.split(".")[0], OTHER_TOLERANCE)
    detail = f"least cosine {worst:.6f}, at least {least:g}"
    return GoldenStep(name, OK if worst >= least else DIFFERS, detail)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def hash_of(array: np.ndarray) -> str:
    """Hex SHA-256 of an array: type, shape and little-endian values, as golden.npz holds it."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    data = f"{array.dtype.name}{array.shape}".encode() + little.tobytes()
    return hashlib.sha256(data).hexdigest()
