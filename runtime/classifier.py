"""The classifier: a bundle or a self-describing model file in, labels with probabilities out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from PIL import Image

from runtime.backends import IMAGE, TENSOR, Runner, finite, whole_number
from runtime.backends import backend as backend_row
from runtime.backends import load as load_model
from runtime.bundle import FEATURES, MANIFEST, Label, labels_from_json, open_bundle, parse_json
from runtime.errors import SHOWN, BackendError, BundleError, ImageError
from runtime.files.confidence import LEAST, MOST, rejection_of, temperature_of
from runtime.files.onnx import inspect
from runtime.files.paths import bundle_path
from runtime.files.zipped import unpacked
from runtime.preprocess import ImageLike, PreprocessSpec, geometry, normalize, require_pixels
from runtime.preprocess.many import OneOrMany, decoded, is_single
from runtime.rejection import Rejection

BATCH = 32  # images per engine call: a long list needs no more memory than this many
META_LABELS = "clip2edge.labels"
META_PREPROCESS = "clip2edge.preprocess"
META_PRECISION = "clip2edge.precision"
META_TEMPERATURE = "clip2edge.temperature"
LOGITS = "logits"


@dataclass(frozen=True)
class Prediction:
    """One guess: a label, its index, and its probability (softmax over all classes).

    ``known`` is that of the image: whether it shows one of the classes at all, by the bundle's
    score and threshold (``runtime.rejection``); None from a bundle that has none.
    """

    label: str
    index: int
    probability: float
    known: bool | None = None

    def __repr__(self) -> str:
        shown = f"{self.probability:.4g}"
        known = "" if self.known is None else f", known={self.known}"
        return f"Prediction(label={self.label!r}, index={self.index}, probability={shown}{known})"


@dataclass(eq=False, repr=False)
class Classifier:
    """A loaded model with its labels and its preprocessing. Safe to share between threads.

    A copy, and one that arrives in another process by pickle, loads the same file again.
    """

    runner: Runner  # the engine's session; ``runner.run(float batch)`` is compute alone
    label_rows: tuple[Label, ...]
    spec: PreprocessSpec
    precision: str  # the model in use, e.g. "int8"
    backend: str  # the engine's name
    load_ms: float = 0.0  # duration of loading, verification included
    origin: Mapping[str, Any] = field(default_factory=dict)  # arguments of ``load``
    sha256: str | None = None  # of the model's file, by the manifest
    temperature: float = 1.0  # logits are divided by it before the softmax
    rejection: Rejection | None = None  # how images of no class are told; None: not at all

    def __post_init__(self) -> None:
        size = self.runner.input_size
        if size not in (None, self.spec.size):
            what = "model and preprocessing disagree"
            raise BundleError(what, got=size, expected=self.spec.size)
        self.labels = tuple(label.name for label in self.label_rows)
        self.takes: str = getattr(self.runner, "takes", TENSOR)

    def __repr__(self) -> str:
        size = f"{self.spec.size} x {self.spec.size}"
        return f"Classifier({self.precision}, {len(self.labels)} labels, {size}, {self.runner!r})"

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        precision: str = "auto",
        backend: str = "onnxruntime",
        threads: int | None = None,
        verify: bool = True,
        **options: Any,
    ) -> Classifier:
        """The classifier in a bundle folder, a zipped one, or a self-describing ``model.*.onnx``.

        The model runs in this process. What its file alone shows is bounded: loops, operators of
        its own, files elsewhere, constants, shapes and products that ask for too much are refused.
        What it computes from an image is not: a stranger's bundle may still take all memory or
        time here. The commands try it in a process with limits first; ``golden.verify`` does too.

        Args:
            bundle: of its files, those that this model needs must be there.
            precision: "auto" (the bundle's default) or one of its models: "int8", "fp32", ...
            backend: a row of ``runtime.backends.BACKENDS``.
            threads: compute threads; default: the usable physical cores.
            verify: compare the SHA-256 of every file with the manifest (sizes always are).
            options: for the engine, e.g. ``provider="CUDAExecutionProvider"``, ``spinning=False``.

        Raises:
            BundleError: damaged, unsafe, of a future version, or without such a model.
            BackendError: the engine or provider is absent, or refuses the model.
        """
        start = time.perf_counter()
        path = bundle_path(bundle)
        row = backend_row(backend)
        if not isinstance(precision, str):
            got = repr(precision)[:SHOWN]
            raise BundleError("precision", got=got, expected="auto, int8, fp32, ...")
        options = {**options, "threads": threads}
        sha256 = None
        if path.suffix == ".onnx" and path.is_file():
            model, labels, spec, name, temperature = from_file(path, precision)
            rejection = None  # prototypes and thresholds are the bundle's
            runner = load_model(backend, model, **options)
        else:
            with unpacked(path) as folder:
                opened = open_bundle(folder, verify, whole=False)
                name = row.model(precision, opened.default, opened.targets)
                file = opened.model(name)
                runner = load_model(backend, file, **options)
                parts = [part.relative_to(opened.path).as_posix() for part in opened.parts(file)]
                classes = len(opened.labels)
                rejection = rejection_of(opened.manifest, name, opened.path, classes)
                opened.require_unchanged(*parts, MANIFEST)
            temperature = temperature_of(opened.manifest, name)
            sha256 = opened.digest(file)
            labels = opened.labels
            spec = opened.preprocess
        load_ms = (time.perf_counter() - start) * 1e3
        origin = {"precision": name, "backend": backend, "verify": verify, **options}
        origin["bundle"] = str(path.absolute())
        about = (name, backend, load_ms, origin, sha256, temperature, rejection)
        return cls(runner, labels, spec, *about)

    def __reduce__(self) -> tuple[Callable[..., Classifier], tuple[Any, ...]]:
        if not self.origin:
            remedy = "send the path and load it there"
            raise BackendError("a classifier that was not loaded cannot be copied", remedy=remedy)
        return _load_again, (type(self), dict(self.origin), self.sha256)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self, images: str | os.PathLike[str] | bytes | IO[bytes] | Image.Image, top_k: int = 5
    ) -> list[Prediction]: ...
    @overload
    def predict(self, images: np.ndarray, top_k: int = 5) -> Any: ...
    @overload
    def predict(self, images: Iterable[ImageLike], top_k: int = 5) -> list[list[Prediction]]: ...
    def predict(self, images: OneOrMany, top_k: int = 5) -> Any:
        """The ``top_k`` likeliest labels, the likeliest first, and whether the image is known.

        One image (a path, bytes, a binary file, a PIL image, an array of up to three dimensions)
        gives a list; several images (a sequence, a generator, or an array (B, H, W, 3)) give a list
        each.

        Raises:
            ImageError: an undecodable image, or none; of several, the message names the position.
            BackendError: ``top_k`` is no number from 1 on, the engine fails, or its logits are not
                finite.
        """
        count = whole_number("top_k", top_k)
        logits, known = self._answers(images)
        rows = self.ranked(logits, count, known)
        return rows[0] if is_single(images) else rows

    def known(self, images: OneOrMany) -> np.ndarray:
        """Whether images show one of the classes, (B,) bool.

        Raises:
            ImageError: as ``predict``.
            BundleError: the bundle does not tell images of no class from others.
        """
        self.require_rejection()
        known = self._answers(images)[1]
        assert known is not None  # the bundle has a rejection
        return known

    def require_rejection(self) -> None:
        """Raises BundleError if the bundle does not tell images of no class from others."""
        if self.rejection is None:
            what = "this bundle does not tell whether an image shows one of its classes"
            remedy = "load the bundle, not one file of it; compress build makes bundles that do"
            raise BundleError(what, got="no rejection", remedy=remedy)

    def ranked(
        self, logits: np.ndarray, top_k: int = 5, known: np.ndarray | None = None
    ) -> list[list[Prediction]]:
        """The ``top_k`` likeliest labels of each row of logits (B, K), ties in index order.

        ``known`` (B,) goes into the predictions of each image.

        Raises: BackendError: not such logits, or not finite.
        """
        count = whole_number("top_k", top_k)
        values = finite(logits)
        if values.ndim != 2 or values.shape[1] != len(self.labels):
            expected = f"(B, {len(self.labels)})"
            raise BackendError("logits to rank", got=values.shape, expected=expected)
        probabilities = softmax(values / np.float32(self.temperature))
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        shares = np.take_along_axis(probabilities, order, axis=1)
        flags = [None] * len(values) if known is None else [bool(flag) for flag in known]
        return [
            [Prediction(self.labels[i], i, share, flag) for i, share in zip(*row, strict=True)]
            for *row, flag in zip(order.tolist(), shares.tolist(), flags, strict=True)
        ]

    def logits(self, images: OneOrMany, output: str = "logits") -> np.ndarray:
        """float32 (B, K), finite, of images of any size and type; one image gives (1, K)."""
        return self._joined(self._inputs(images), (output,))[output]

    def _inputs(self, images: OneOrMany) -> Iterator[np.ndarray]:
        """The inputs of ``runner.run``, a batch each."""
        step = 1 if self.takes == IMAGE else BATCH
        return map(self._input, decoded(images, step))

    def _answers(self, images: OneOrMany) -> tuple[np.ndarray, np.ndarray | None]:
        """The logits (B, K) of images, and whether each is known, if the bundle can tell."""
        if self.rejection is None:
            return self.logits(images), None
        names = (LOGITS, FEATURES) if self.rejection.needs_features else (LOGITS,)
        if FEATURES in names:
            self.require_features()
        ran = self._joined(self._inputs(images), names)
        return ran[LOGITS], self.rejection.known(ran[LOGITS], ran.get(FEATURES))

    def features(self, images: OneOrMany) -> np.ndarray:
        """float32 (B, D), rows of length 1: how images look to the network, beyond its classes.

        One image gives (1, D). The scalar product of two rows is the cosine of their angle.

        Raises:
            ImageError: as ``predict``; no image.
            BundleError: the model has no such output; see ``has_features``.
        """
        self.require_features()
        return self.logits(images, FEATURES)

    def require_features(self) -> None:
        """Raises BundleError if the model has no output ``features``."""
        if not self.has_features:
            what = f"the {self.precision} model has no features"
            remedy = "compress build, or compress export for a target, makes files that have them"
            got = f"outputs {', '.join(self.runner.outputs)}"
            raise BundleError(what, got=got, expected=f"an output {FEATURES!r}", remedy=remedy)

    @property
    def has_features(self) -> bool:
        """Whether the model has the output ``features``: files of earlier versions lack it."""
        return FEATURES in self.runner.outputs

    def _input(self, images: Sequence[Image.Image]) -> np.ndarray:
        """The input of ``runner.run`` for decoded images."""
        if self.takes == IMAGE:
            return np.asarray(images[0])[None]
        return self.feed(self._cropped(images))

    def logits_u8(self, pixels: np.ndarray, output: str = "logits") -> np.ndarray:
        """float32 (B, K) of results of ``geometry``, uint8 (B, S, S, 3).

        Raises:
            BackendError: the model applies the geometry itself.
            ImageError: another shape or type.
        """
        if self.takes == IMAGE and self.spec.resize != self.spec.size:
            what = f"{self.precision} resizes and crops itself"
            raise BackendError(what, got="cropped pixels", expected="whole images: logits()")
        require_pixels(pixels, self.spec)
        parts = (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))
        return self._joined(map(self.feed, parts), (output,))[output]

    def feed(self, pixels: np.ndarray) -> np.ndarray:
        """The input of ``runner.run`` for results of ``geometry``, uint8 (B, S, S, 3)."""
        return normalize(pixels, self.spec) if self.takes == TENSOR else pixels

    def pixels(self, images: OneOrMany) -> np.ndarray:
        """Decoded and cropped images, uint8 (B, S, S, 3): what the model sees, not normalized.

        Raises: ImageError: as ``predict``; no image.
        """
        whole = [image for part in decoded(images, BATCH) for image in part]
        if not whole:
            raise ImageError("no images", got=0, expected="at least one")
        return self._cropped(whole)

    def _cropped(self, images: Iterable[Image.Image]) -> np.ndarray:
        rows = [geometry(image, self.spec) for image in images]
        return rows[0][None] if len(rows) == 1 else np.stack(rows)

    def _joined(
        self, inputs: Iterable[np.ndarray], outputs: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """The finite values of outputs for all inputs of ``runner.run``."""
        widths = {name: None if name == FEATURES else len(self.labels) for name in outputs}
        parts: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
        for batch in inputs:
            ran = self.runner.run_all(batch, outputs)
            for name, width in widths.items():
                part = finite(ran[name], name)
                is_table = part.ndim == 2 and len(part) == len(batch)
                if not is_table or part.shape[1] != (width or part.shape[1]):
                    want = f"({len(batch)}, {width or 'D'})"
                    got = f"{name} {part.shape}"
                    raise BundleError("model and labels disagree", got=got, expected=want)
                parts[name].append(part)
        if FEATURES in outputs and len(outputs) == 1 and not parts[FEATURES]:
            raise ImageError("no images", got=0, expected="at least one")
        empty = {name: np.empty((0, width or 0), np.float32) for name, width in widths.items()}
        return {
            name: rows[0] if len(rows) == 1 else np.concatenate(rows or [empty[name]])
            for name, rows in parts.items()
        }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (B, K) float64 of logits (B, K)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _load_again(
    kind: type[Classifier], origin: Mapping[str, Any], sha256: str | None
) -> Classifier:
    """The classifier of a copy or of a pickle."""
    loaded = kind.load(**origin)
    if loaded.sha256 != sha256:
        what = f"{origin['bundle']} holds another model than the one that was copied"
        raise BundleError(what, got=loaded.sha256, expected=sha256, remedy="load the bundle again")
    return loaded


def from_file(
    path: Path, precision: str
) -> tuple[Path, tuple[Label, ...], PreprocessSpec, str, float]:
    """Labels, preprocessing, precision and temperature from the metadata of one model file."""
    metadata = inspect(path).metadata
    missing = sorted({META_LABELS, META_PREPROCESS} - set(metadata))
    if missing:
        got = f"no {', '.join(missing)} in its metadata"
        remedy = "load the bundle's folder instead"
        raise BundleError(f"{path} does not describe itself", got=got, remedy=remedy)
    own = metadata.get(META_PRECISION, "unknown")
    if precision not in ("auto", own):
        expected = f"auto or {own}"
        raise BundleError(f"no {precision} model in {path}", got=precision, expected=expected)
    labels = parse_json(metadata[META_LABELS], f"{META_LABELS} of {path}")
    spec = parse_json(metadata[META_PREPROCESS], f"{META_PREPROCESS} of {path}")
    temperature = _temperature(metadata.get(META_TEMPERATURE, "1"), path)
    geometry_of = PreprocessSpec.from_json(spec)
    return path, labels_from_json(labels, META_LABELS), geometry_of, own, temperature


def _temperature(text: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not LEAST <= value <= MOST:  # NaN is not within
        what = f"{META_TEMPERATURE} of {path}"
        raise BundleError(what, got=text[:SHOWN], expected=f"{LEAST:g}..{MOST:g}")
    return value
