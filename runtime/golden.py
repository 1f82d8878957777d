"""Golden vectors: what every step made of a few images, so that a device can name the first step that differs.

golden.npz holds ``img_0 ...`` (encoded bytes, uint8 1-d), the SHA-256 of each decoded image, crop and input tensor
(``decoded``, ``cropped``, ``normalised``: text (N,)) and per model ``logits.<name>`` float32 (N, K).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.backends import load as load_model
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.errors import BackendError, BundleError, EdgeError
from runtime.preprocess import PreprocessSpec, decode, geometry, normalise

MAX_BYTES = 256 * 2**20  # unpacked
OK, DIFFERS, SKIPPED = "ok", "differs", "skipped"

# Largest difference of a logit, as a share of the golden logits' spread (max - min). Float kernels add up in another
# order on another processor; an int8 activation at a rounding edge moves one step of 255 and others with it.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 5e-2, "int8": 5e-2}
OTHER_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Step:
    """One step of the check: its name, "ok", "differs" or "skipped", and what was seen."""

    name: str
    state: str
    detail: str


def make(
    images: Sequence[bytes | np.ndarray], spec: PreprocessSpec, logits: Mapping[str, Callable[[np.ndarray], np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays of golden.npz.

    Args:
        images: encoded images, or uint8 (H, W, 3) which become PNG.
        spec: the preprocessing.
        logits: model name -> function from normalised images (N, 3, S, S) to logits (N, K).

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


def write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz whose bytes depend on nothing but ``arrays``."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # else it tells the operating system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue())


def read(file: Path) -> dict[str, np.ndarray]:
    """The arrays of golden.npz; never unpickles.

    Raises:
        BundleError: absent, too large when unpacked, or damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_BYTES:
            raise BundleError(f"{file} is too large", got=f"{unpacked:,} bytes", expected=f"at most {MAX_BYTES:,}")
        with np.load(file, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{file} cannot be read", got=error, remedy="copy the bundle again, or rebuild it") from error


def verify(path: str | Path, backend: str = "onnxruntime", threads: int | None = None) -> list[Step]:
    """Repeats every golden step on this machine, in order; a damaged bundle ends the list at "files".

    A step is "skipped" where this machine lacks what it needs: an unverified step is never called ok.
    """
    try:
        bundle = open_bundle(path)
        golden = read(bundle.path / GOLDEN) if GOLDEN in bundle.manifest["files"] else None
    except BundleError as error:
        return [Step("files", DIFFERS, str(error))]
    steps = [Step("files", OK, f"{len(bundle.manifest['files'])} files match their SHA-256")]
    if golden is None:
        return [*steps, Step("golden", SKIPPED, f"the bundle has no {GOLDEN}")]
    try:
        encoded = [golden[f"img_{index}"].tobytes() for index in range(len(golden["decoded"]))]
        results = _preprocess(encoded, bundle.preprocess)
        steps += [
            _compare_hashes("decoded", results[0], golden["decoded"]),
            _compare_hashes("cropped", results[1], golden["cropped"]),
            _compare_hashes("normalised", results[2], golden["normalised"]),
        ]
    except (EdgeError, KeyError) as error:
        return [*steps, Step("decoded", DIFFERS, str(error))]
    for precision, model in bundle.models.items():
        steps.append(_compare_logits(bundle, precision, model, results[2], golden, backend, threads))
    return steps


def first_difference(steps: Sequence[Step]) -> Step | None:
    """The first step that differs."""
    return next((step for step in steps if step.state == DIFFERS), None)


def _preprocess(encoded: Sequence[bytes], spec: PreprocessSpec) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    decoded = [decode(data) for data in encoded]
    cropped = np.stack([geometry(image, spec) for image in decoded])
    return [np.asarray(image) for image in decoded], cropped, normalise(cropped, spec)


def _compare_hashes(name: str, results: Sequence[np.ndarray] | np.ndarray, golden: np.ndarray) -> Step:
    wrong = [index for index, result in enumerate(results) if hash_of(result) != str(golden[index])]
    if wrong:
        return Step(name, DIFFERS, f"image {', '.join(map(str, wrong))} of {len(golden)} is not the golden one")
    return Step(name, OK, f"{len(golden)} of {len(golden)} images are bit-identical")


def _compare_logits(
    bundle: Bundle,
    precision: str,
    model: Path,
    tensor: np.ndarray,
    golden: Mapping[str, np.ndarray],
    backend: str,
    threads: int | None,
) -> Step:
    name = f"logits {precision}"
    want = golden.get(f"logits.{precision}")
    if want is None:
        return Step(name, SKIPPED, "no golden logits of this model")
    try:
        got = load_model(backend, model, threads=threads).run(tensor)
    except BackendError as error:
        return Step(name, SKIPPED, str(error))
    if got.shape != want.shape or not np.isfinite(got).all():
        broken = f"got {got.shape} with {np.sum(~np.isfinite(got))} not finite, expected {want.shape}"
        return Step(name, DIFFERS, broken)
    tolerance = TOLERANCE.get(precision.split(".")[0], OTHER_TOLERANCE)
    worst = float(np.abs(got - want).max() / max(float(np.ptp(want)), 1e-6))
    agree = int((got.argmax(1) == want.argmax(1)).sum())
    seen = f"largest difference {worst:.2g} of the spread, tolerance {tolerance:g}; {agree} of {len(want)} labels agree"
    return Step(name, OK if worst <= tolerance else DIFFERS, seen)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def hash_of(array: np.ndarray) -> str:
    """Hex SHA-256 of an array: type, shape and little-endian values, as golden.npz holds it."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{array.dtype.name}{array.shape}".encode() + little.tobytes()).hexdigest()
