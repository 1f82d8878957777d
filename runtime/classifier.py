"""The classifier: a bundle or a self-describing model file in, labels with probabilities out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from PIL import Image

from runtime.backends import IMAGE, TENSOR, Runner, finite, whole_number
from runtime.backends import backend as backend_row
from runtime.backends import load as load_model
from runtime.bundle import MANIFEST, Label, labels_from_json, open_bundle, parse_json
from runtime.errors import SHOWN, BackendError, BundleError, ImageError
from runtime.files.onnx import inspect
from runtime.files.paths import bundle_path
from runtime.files.zipped import unpacked
from runtime.preprocess import (
    ImageLike,
    PreprocessSpec,
    decode,
    geometry,
    is_encoded,
    normalize,
    require_pixels,
)

BATCH = 32  # images per engine call: a long list needs no more memory than this many
META_LABELS = "clip2edge.labels"
META_PREPROCESS = "clip2edge.preprocess"
META_PRECISION = "clip2edge.precision"

OneOrMany = ImageLike | Iterable[ImageLike]


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
            model, labels, spec, name = from_file(path, precision)
            runner = load_model(backend, model, **options)
        else:
            with unpacked(path) as folder:
                opened = open_bundle(folder, verify, whole=False)
                name = row.model(opened.default if precision == "auto" else precision)
                file = opened.model(name)
                runner = load_model(backend, file, **options)
                listed = file.relative_to(opened.path).as_posix()
                opened.require_unchanged(listed, MANIFEST)
            sha256 = opened.manifest["files"][listed]["sha256"]
            labels = opened.labels
            spec = opened.preprocess
        load_ms = (time.perf_counter() - start) * 1e3
        origin = {"precision": name, "backend": backend, "verify": verify, **options}
        origin["bundle"] = str(path.absolute())
        return cls(runner, labels, spec, name, backend, load_ms, origin, sha256)

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
        """The ``top_k`` likeliest labels, the likeliest first.

        One image (a path, bytes, a binary file, a PIL image, an array of up to three dimensions)
        gives a list; several images (a sequence, a generator, or an array (B, H, W, 3)) give a list
        each.

        Raises:
            ImageError: an undecodable image, or none; of several, the message names the position.
            BackendError: ``top_k`` is no number from 1 on, the engine fails, or its logits are not
                finite.
        """
        count = whole_number("top_k", top_k)
        rows = self.ranked(self.logits(images), count)
        return rows[0] if is_single(images) else rows

    def ranked(self, logits: np.ndarray, top_k: int = 5) -> list[list[Prediction]]:
        """The ``top_k`` likeliest labels of each row of logits (B, K), ties in index order.

        Raises: BackendError: not such logits, or not finite.
        """
        count = whole_number("top_k", top_k)
        values = finite(logits)
        if values.ndim != 2 or values.shape[1] != len(self.labels):
            expected = f"(B, {len(self.labels)})"
            raise BackendError("logits to rank", got=values.shape, expected=expected)
        probabilities = softmax(values)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        shares = np.take_along_axis(probabilities, order, axis=1)
        rows = zip(order.tolist(), shares.tolist(), strict=True)
        return [
            [Prediction(self.labels[i], i, share) for i, share in zip(*row, strict=True)]
            for row in rows
        ]

    def logits(self, images: OneOrMany, output: str = "logits") -> np.ndarray:
        """float32 (B, K), finite, of images of any size and type; one image gives (1, K)."""
        step = 1 if self.takes == IMAGE else BATCH
        return self._joined(map(self._input, _decoded(images, step)), output)

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
        return self._joined(map(self.feed, parts), output)

    def feed(self, pixels: np.ndarray) -> np.ndarray:
        """The input of ``runner.run`` for results of ``geometry``, uint8 (B, S, S, 3)."""
        return normalize(pixels, self.spec) if self.takes == TENSOR else pixels

    def pixels(self, images: OneOrMany) -> np.ndarray:
        """Decoded and cropped images, uint8 (B, S, S, 3): what the model sees, not normalized.

        Raises: ImageError: as ``predict``; no image.
        """
        decoded = [image for part in _decoded(images, BATCH) for image in part]
        if not decoded:
            raise ImageError("no images", got=0, expected="at least one")
        return self._cropped(decoded)

    def _cropped(self, images: Iterable[Image.Image]) -> np.ndarray:
        rows = [geometry(image, self.spec) for image in images]
        return rows[0][None] if len(rows) == 1 else np.stack(rows)

    def _joined(self, inputs: Iterable[np.ndarray], output: str) -> np.ndarray:
        """The finite logits of all inputs of ``runner.run``."""
        parts = [np.empty((0, len(self.labels)), np.float32)]
        for batch in inputs:
            part = finite(self.runner.run(batch, output), output)
            if part.shape != (len(batch), len(self.labels)):
                want = f"({len(batch)}, {len(self.labels)})"
                got = f"{output} {part.shape}"
                raise BundleError("model and labels disagree", got=got, expected=want)
            parts.append(part)
        return parts[1] if len(parts) == 2 else np.concatenate(parts)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (B, K) float64 of logits (B, K)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def is_single(images: object) -> bool:
    """Whether it is one image: a path, bytes, file, PIL image or array of up to 3 dimensions."""
    if isinstance(images, np.ndarray):
        return images.ndim <= 3
    return is_encoded(images) or isinstance(images, Image.Image)


def _decoded(images: Any, step: int) -> Iterator[list[Image.Image]]:
    """Decoded images, ``step`` at a time; an error names the position in a list."""
    if is_single(images):
        yield [decode(images)]
        return
    if isinstance(images, (set, frozenset, Mapping)) or not isinstance(images, Iterable):
        got = type(images).__name__
        expected = "an image, or a sequence of images"
        raise ImageError("images of unknown type", got=got, expected=expected)
    items = enumerate(images)
    while part := [_decoded_at(index, image) for index, image in islice(items, step)]:
        yield part


def _decoded_at(index: int, image: ImageLike) -> Image.Image:
    try:
        return decode(image)
    except ImageError as error:
        what = f"images[{index}]: {error.what}"
        why: Any = {"got": error.got, "expected": error.expected, "remedy": error.remedy}
        raise ImageError(what, **why) from error


def _load_again(
    kind: type[Classifier], origin: Mapping[str, Any], sha256: str | None
) -> Classifier:
    """The classifier of a copy or of a pickle."""
    loaded = kind.load(**origin)
    if loaded.sha256 != sha256:
        what = f"{origin['bundle']} holds another model than the one that was copied"
        raise BundleError(what, got=loaded.sha256, expected=sha256, remedy="load the bundle again")
    return loaded


def from_file(path: Path, precision: str) -> tuple[Path, tuple[Label, ...], PreprocessSpec, str]:
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
