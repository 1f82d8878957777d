"""The classifier: a bundle or a self-describing model file in, labels with probabilities out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from runtime.backends import IMAGE, TENSOR, Runner
from runtime.backends import backend as backend_row
from runtime.backends import load as load_model
from runtime.bundle import Label, labels_from_json, open_bundle, parse_json
from runtime.errors import BackendError, BundleError
from runtime.files.onnx import inspect
from runtime.preprocess import ImageLike, PreprocessSpec, decode, geometry, normalize

BATCH = 32  # images per engine call: a long list needs no more memory than this many
META_LABELS = "clip2edge.labels"
META_PREPROCESS = "clip2edge.preprocess"
META_PRECISION = "clip2edge.precision"

OneOrMany = ImageLike | Sequence[ImageLike]


@dataclass(frozen=True)
class Prediction:
    """One guess: a label, its index, and its probability (softmax over all classes)."""

    label: str
    index: int
    probability: float

    def __repr__(self) -> str:
        shown = f"{self.probability:.4g}"
        return f"Prediction(label={self.label!r}, index={self.index}, probability={shown})"


@dataclass(eq=False, repr=False)
class Classifier:
    """A loaded model with its labels and its preprocessing. Safe to share between threads."""

    runner: Runner  # the engine's session; ``runner.run(float batch)`` is compute alone
    label_rows: tuple[Label, ...]
    spec: PreprocessSpec
    precision: str  # the model in use, e.g. "int8"
    backend: str  # the engine's name
    load_ms: float = 0.0  # duration of loading, verification included

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
        """The classifier in a bundle folder or in one self-describing ``model.*.onnx``.

        Args:
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
        path = Path(bundle)
        row = backend_row(backend)
        if path.suffix == ".onnx" and path.is_file():
            model, labels, spec, name = _from_file(path, precision)
        else:
            opened = open_bundle(path, verify)
            name = row.model(opened.default if precision == "auto" else precision)
            model = opened.model(name)
            labels = opened.labels
            spec = opened.preprocess
        runner = load_model(backend, model, threads=threads, **options)
        return cls(runner, labels, spec, name, backend, (time.perf_counter() - start) * 1e3)

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self, images: str | Path | bytes | Image.Image, top_k: int = 5
    ) -> list[Prediction]: ...
    @overload
    def predict(self, images: np.ndarray, top_k: int = 5) -> Any: ...
    @overload
    def predict(self, images: Sequence[ImageLike], top_k: int = 5) -> list[list[Prediction]]: ...
    def predict(self, images: OneOrMany, top_k: int = 5) -> Any:
        """The ``top_k`` likeliest labels, the likeliest first.

        One image (a path, bytes, a PIL image, an array of up to three dimensions) gives a list;
        several images (a sequence, or an array (B, H, W, 3)) give a list each.

        Raises: ImageError: an undecodable image; BackendError: ``top_k`` below 1, engine failure.
        """
        if top_k < 1:
            raise BackendError("top_k", got=top_k, expected="1 or more")
        rows = self.ranked(self.logits(images), top_k)
        return rows[0] if is_single(images) else rows

    def ranked(self, logits: np.ndarray, top_k: int = 5) -> list[list[Prediction]]:
        """The ``top_k`` likeliest labels of each row of logits (B, K), ties in index order."""
        probabilities = softmax(logits)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        shares = np.take_along_axis(probabilities, order, axis=1)
        rows = zip(order.tolist(), shares.tolist(), strict=True)
        return [
            [Prediction(self.labels[i], i, share) for i, share in zip(*row, strict=True)]
            for row in rows
        ]

    def logits(self, images: OneOrMany, output: str = "logits") -> np.ndarray:
        """float32 (B, K) of images of any size and type; one image gives (1, K)."""
        many: Any = [images] if is_single(images) else images
        if self.takes == IMAGE:
            whole = [self.runner.run(np.asarray(decode(image))[None], output) for image in many]
            return self._checked(whole, len(many), output)
        return self._in_batches(many, self.pixels, output)

    def logits_u8(self, pixels: np.ndarray, output: str = "logits") -> np.ndarray:
        """float32 (B, K) of results of ``geometry``, uint8 (B, S, S, 3).

        Raises: BackendError: the model applies the geometry itself.
        """
        if self.takes == IMAGE and self.spec.resize != self.spec.size:
            what = f"{self.precision} resizes and crops itself"
            raise BackendError(what, got="cropped pixels", expected="whole images: logits()")
        return self._in_batches(pixels, lambda part: part, output)

    def feed(self, pixels: np.ndarray) -> np.ndarray:
        """The input of ``runner.run`` for results of ``geometry``, uint8 (B, S, S, 3)."""
        return normalize(pixels, self.spec) if self.takes == TENSOR else pixels

    def pixels(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Decoded and cropped images, uint8 (B, S, S, 3): what the model sees, not normalized."""
        rows = [geometry(decode(image), self.spec) for image in images]
        return rows[0][None] if len(rows) == 1 else np.stack(rows)

    def _in_batches(
        self, items: Any, to_pixels: Callable[[Any], np.ndarray], output: str
    ) -> np.ndarray:
        parts = [
            self.runner.run(self.feed(to_pixels(items[start : start + BATCH])), output)
            for start in range(0, len(items), BATCH)
        ]
        return self._checked(parts, len(items), output)

    def _checked(self, parts: Sequence[np.ndarray], count: int, output: str) -> np.ndarray:
        if not parts:
            return np.empty((0, len(self.labels)), np.float32)
        logits = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if logits.shape != (count, len(self.labels)):
            want = f"({count}, {len(self.labels)})"
            got = f"{output} {logits.shape}"
            raise BundleError("model and labels disagree", got=got, expected=want)
        return logits.astype(np.float32, copy=False)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (B, K) float64 of logits (B, K)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def is_single(images: object) -> bool:
    """Whether ``images`` is one image: a path, bytes, PIL image or array of up to 3 dimensions."""
    if isinstance(images, np.ndarray):
        return images.ndim <= 3
    return isinstance(images, (str, Path, bytes, bytearray, memoryview, Image.Image))


def _from_file(path: Path, precision: str) -> tuple[Path, tuple[Label, ...], PreprocessSpec, str]:
    """Labels and preprocessing from the metadata of a single model file."""
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
    return path, labels_from_json(labels, META_LABELS), PreprocessSpec.from_json(spec), own
