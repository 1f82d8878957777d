"""Golden vectors: what every step made of a few images, so that a device can name the first step
that differs.

golden.npz holds ``img_0 ...`` (encoded bytes, uint8 1-d), the SHA-256 of each decoded image, crop
and input tensor (``decoded``, ``cropped``, ``normalized``: text (N,)) and per model
``logits.<name>`` float32 (N, K).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.backends import IMAGE, TENSOR, Runner
from runtime.backends import load as load_model
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.errors import BackendError, BundleError, EdgeError
from runtime.files.golden_npz import read, write
from runtime.files.strict_json import read_json
from runtime.preprocess import MAX_PIXELS, PreprocessSpec, decode, geometry, normalize

__all__ = [
    "DIFFERS",
    "OK",
    "SKIPPED",
    "TARGETS_GOLDEN",
    "Step",
    "compare",
    "first_difference",
    "hash_of",
    "logits_of",
    "make",
    "read",
    "verify",
    "write",
]

MAX_IMAGES = 64
HASHED = ("decoded", "cropped", "normalised")
HEX = re.compile(r"[0-9a-f]{64}")
CONFIG = "config.json"  # the classes once more, for other people's loaders
TARGETS_GOLDEN = (
    "golden.targets.npz"  # logits.<target> of export targets, on the images of golden.npz
)
OK, DIFFERS, SKIPPED = "ok", "differs", "skipped"

# Largest difference of a logit, as a share of the golden logits' spread (max - min). Float kernels
# add up in another
# order on another processor; an int8 activation at a rounding edge moves one step of 255 and others
# with it.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 5e-2, "int8": 5e-2}
OTHER_TOLERANCE = 5e-2

# What to do about a step that differs, and about one that was skipped.
REMEDIES = {
    "files": "copy the bundle again, or rebuild it with compress build",
    "golden": "rebuild the bundle with compress build",
    "decoded": "this Pillow decodes otherwise: pip install --upgrade pillow; if it stays, "
    "expect small differences",
    "cropped": "this Pillow resizes otherwise, or preprocess.json is another build's: pip "
    "install --upgrade pillow",
    "normalised": "preprocess.json is another build's, or this runtime another version: copy "
    "the bundle again, "
    "pip install --upgrade clip2edge",
    CONFIG: "the classes for other loaders are another build's: copy the bundle again, or "
    "rebuild it",
    "logits": "this engine or processor computes otherwise: pip install --upgrade "
    "onnxruntime, compare with fp32, and "
    "measure the accuracy here if the labels agree",
}


@dataclass(frozen=True)
class Step:
    """One step of the check: its name, "ok", "differs" or "skipped", what was seen, and what to do
    where it differs.
    """

    name: str
    state: str
    detail: str
    advice: str | None = None  # the error's own, where there was one

    @property
    def remedy(self) -> str | None:
        """What to do, where the step differs; the kind of a step is the first word of its name."""
        return (
            (self.advice or REMEDIES.get(self.name.partition(" ")[0]))
            if self.state == DIFFERS
            else None
        )

    def to_json(self) -> dict[str, str | None]:
        """A JSON object."""
        return {
            "name": self.name,
            "state": self.state,
            "detail": self.detail,
            "remedy": self.remedy,
        }


def make(
    images: Sequence[bytes | np.ndarray],
    spec: PreprocessSpec,
    logits: Mapping[str, Callable[[np.ndarray], np.ndarray]],
) -> dict[str, np.ndarray]:
    """The arrays of golden.npz.

    Args:
        images: encoded images, or uint8 (H, W, 3) which become PNG.
        spec: the preprocessing.
        logits: model name -> function from normalized images (N, 3, S, S) to logits (N, K).

    Raises:
        BundleError: no image.
    """
    if not images:
        raise BundleError("golden vectors need images", got=0, expected="at least 1")
    encoded = [image if isinstance(image, bytes) else _png(image) for image in images]
    arrays = {f"img_{index}": np.frombuffer(data, np.uint8) for index, data in enumerate(encoded)}
    decoded, cropped, tensor = _preprocess(encoded, spec)
    arrays["decoded"] = np.array([hash_of(image) for image in decoded])
    arrays["cropped"] = np.array([hash_of(image) for image in cropped])
    arrays["normalised"] = np.array([hash_of(image) for image in tensor])
    for name, run in logits.items():
        arrays[f"logits.{name}"] = run(tensor).astype(np.float32)
    return arrays


def verify(
    path: str | Path, backend: str = "onnxruntime", threads: int | None = None
) -> list[Step]:
    """Repeats every golden step on this machine, in order; a damaged bundle ends the list at
    "files".

    A step is "skipped" where this machine lacks what it needs: an unverified step is never called
    ok.
    """
    try:
        bundle = open_bundle(path)
        golden = _vectors(bundle)
    except BundleError as error:
        return [Step("files", DIFFERS, str(error), error.remedy)]
    steps = [
        Step("files", OK, f"{len(bundle.manifest['files'])} files match their SHA-256"),
        *_other_labels(bundle),
    ]
    if golden is None:
        return [*steps, Step("golden", SKIPPED, f"the bundle has no {GOLDEN}")]
    try:
        results = _preprocess(_encoded(golden), bundle.preprocess)
    except EdgeError as error:
        return [*steps, Step("decoded", DIFFERS, str(error))]
    parts: tuple[Sequence[np.ndarray] | np.ndarray, ...] = results
    steps += [
        _compare_hashes(name, part, golden[name]) for name, part in zip(HASHED, parts, strict=True)
    ]
    targets = {key: bundle.path / row["file"] for key, row in bundle.targets.items()}
    for precision, model in {**bundle.models, **targets}.items():
        steps.append(
            _compare_logits(
                f"logits {precision}", precision, model, results, golden, backend, threads
            )
        )
    for (
        precision,
        model,
    ) in bundle.twins.items():  # onnxruntime runs these, whatever runs the others
        name = f"logits {model.relative_to(bundle.path).as_posix()}"
        steps.append(
            _compare_logits(name, precision, model, results, golden, "onnxruntime", threads)
        )
    return steps


def _vectors(bundle: Bundle) -> dict[str, np.ndarray] | None:
    """The arrays of golden.npz and of the export targets, with the shapes that ``make`` gives them.

    Raises:
        BundleError: they are not golden vectors.
    """
    if GOLDEN not in bundle.manifest["files"]:
        return None
    golden = read(bundle.path / GOLDEN)
    if TARGETS_GOLDEN in bundle.manifest["files"]:
        golden = {**read(bundle.path / TARGETS_GOLDEN), **golden}
    problem = next(_problems(golden), None)
    if problem is not None:
        raise BundleError(
            f"{bundle.path / GOLDEN} holds no golden vectors",
            got=problem,
            remedy=REMEDIES["golden"],
        )
    return golden


def _problems(golden: Mapping[str, np.ndarray]) -> Iterator[str]:
    count = golden["decoded"].size if "decoded" in golden else 0
    if not 1 <= count <= MAX_IMAGES:
        yield f"{count} images, expected 1..{MAX_IMAGES}"
    for name in HASHED:
        array = golden.get(name)
        if (
            array is None
            or array.shape != (count,)
            or not all(HEX.fullmatch(str(value)) for value in array)
        ):
            yield f"no {count} hashes of {name} images"
    for name in (f"img_{index}" for index in range(count)):
        if name not in golden or golden[name].dtype != np.uint8 or golden[name].ndim != 1:
            yield f"no encoded image {name}"
    for name, array in golden.items():
        is_table = (
            array.ndim == 2 and array.dtype == np.float32 and len(array) == count and array.size > 0
        )
        if name.startswith("logits.") and not (is_table and np.isfinite(array).all()):
            yield f"{name} is {array.dtype} {array.shape}, expected finite float32 ({count}, K)"


def _encoded(golden: Mapping[str, np.ndarray]) -> list[bytes]:
    return [golden[f"img_{index}"].tobytes() for index in range(len(golden["decoded"]))]


def _other_labels(bundle: Bundle) -> list[Step]:
    """Whether config.json, where there is one, names the classes of labels.json."""
    if CONFIG not in bundle.manifest["files"]:
        return []
    config = read_json(bundle.path / CONFIG)
    theirs = config.get("id2label") if isinstance(config, dict) else None
    ours = {str(index): label.name for index, label in enumerate(bundle.labels)}
    if theirs != ours:
        return [
            Step(
                CONFIG, DIFFERS, "id2label does not name the classes of labels.json in their order"
            )
        ]
    return [Step(CONFIG, OK, f"id2label names the {len(ours)} classes of labels.json")]


def first_difference(steps: Sequence[Step]) -> Step | None:
    """The first step that differs."""
    return next((step for step in steps if step.state == DIFFERS), None)


def _preprocess(
    encoded: Sequence[bytes], spec: PreprocessSpec
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Decoded images, crops (N, S, S, 3) and tensors (N, 3, S, S); together the images hold
    ``MAX_PIXELS`` at most.
    """
    decoded, left = [], MAX_PIXELS
    for data in encoded:
        decoded.append(decode(data, max_pixels=left))
        left -= decoded[-1].width * decoded[-1].height
    cropped = np.stack([geometry(image, spec) for image in decoded])
    return [np.asarray(image) for image in decoded], cropped, normalize(cropped, spec)


def _compare_hashes(
    name: str, results: Sequence[np.ndarray] | np.ndarray, golden: np.ndarray
) -> Step:
    wrong = [index for index, result in enumerate(results) if hash_of(result) != str(golden[index])]
    if wrong:
        return Step(
            name,
            DIFFERS,
            f"image {', '.join(map(str, wrong))} of {len(golden)} is not the golden one",
        )
    return Step(name, OK, f"{len(golden)} of {len(golden)} images are bit-identical")


def logits_of(runner: Runner, golden: Mapping[str, np.ndarray], spec: PreprocessSpec) -> np.ndarray:
    """Logits (N, K) of the images in golden.npz, by a model that takes tensors, pixels or whole
    images.
    """
    return _run(runner, _preprocess(_encoded(golden), spec))


def _run(runner: Runner, results: tuple[list[np.ndarray], np.ndarray, np.ndarray]) -> np.ndarray:
    decoded, cropped, tensor = results
    takes = getattr(runner, "takes", TENSOR)
    if takes == IMAGE:
        return np.concatenate([runner.run(image[None]) for image in decoded])
    return runner.run(tensor if takes == TENSOR else cropped)


def _compare_logits(
    name: str,
    precision: str,
    model: Path,
    results: tuple[list[np.ndarray], np.ndarray, np.ndarray],
    golden: Mapping[str, np.ndarray],
    backend: str,
    threads: int | None,
) -> Step:
    want = golden.get(f"logits.{precision}")
    if want is None:
        return Step(name, SKIPPED, "no golden logits of this model")
    try:
        got = _run(load_model(backend, model, threads=threads), results)
    except BackendError as error:
        return Step(name, SKIPPED, str(error))
    except BundleError as error:  # a file that no engine may open
        return Step(name, DIFFERS, str(error))
    return compare(precision, got, want, name)


def compare(precision: str, got: np.ndarray, want: np.ndarray, name: str | None = None) -> Step:
    """Logits (N, K) of a model against the golden ones, within the precision's tolerance."""
    name = name or f"logits {precision}"
    if got.shape != want.shape or not np.isfinite(got).all():
        broken = (
            f"got {got.shape} with {np.sum(~np.isfinite(got))} not finite, expected {want.shape}"
        )
        return Step(name, DIFFERS, broken)
    tolerance = TOLERANCE.get(precision.split(".")[0], OTHER_TOLERANCE)
    worst = float(np.abs(got - want).max() / max(float(np.ptp(want)), 1e-6))
    agree = int((got.argmax(1) == want.argmax(1)).sum())
    seen = (
        f"largest difference {worst:.2g} of the spread, tolerance {tolerance:g}; {agree} "
        f"of {len(want)} labels agree"
    )
    return Step(name, OK if worst <= tolerance else DIFFERS, seen)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def hash_of(array: np.ndarray) -> str:
    """Hex SHA-256 of an array: type, shape and little-endian values, as golden.npz holds it."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(
        f"{array.dtype.name}{array.shape}".encode() + little.tobytes()
    ).hexdigest()
