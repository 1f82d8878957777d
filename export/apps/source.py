"""The source of an app: one model of a verified bundle, labels, preprocessing, golden vectors."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from compress.engine.errors import ExportError
from export.bundle.files import CARD
from export.bundle.markdown import plain_text
from export.onnx.graph import OUTPUT
from runtime import golden as golden_vectors
from runtime.bundle import FEATURES, GOLDEN, Bundle, open_bundle
from runtime.files.confidence import rejection_of, temperature_of
from runtime.golden import TARGETS_GOLDEN
from runtime.preprocess import PreprocessSpec, decode, geometry
from runtime.rejection import Rejection

Vendored = Mapping[str, Path]

MODEL = "model.onnx"  # the model's file in an app
PROTOTYPES = "prototypes.f32"  # those of its classes, K rows of D little-endian float32
FLOAT = onnx.TensorProto.FLOAT
# Names end up in programs, scripts and configuration: a hostile bundle must not put code there.
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Formats that every app can decode, by magic number.
PLAIN_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}


@dataclass(frozen=True)
class GoldenCase:
    """One golden image."""

    image: bytes  # encoded as PNG or JPEG
    suffix: str  # of its file
    pixels: np.ndarray  # its crop, uint8 (S, S, 3)
    logits: np.ndarray  # the model's, float32 (K,)


@dataclass(frozen=True)
class AppSource:
    """A verified bundle as an app needs it."""

    bundle: Bundle
    precision: str  # key of the model in the manifest
    model: Path  # its file
    title: str  # first heading of the model card, "classifier" where there is none
    input_name: str  # of the float32 input (B, 3, S, S)
    fixed_batch: int | None  # B where the graph fixes it
    width: int | None = None  # D of the output "features"; None for a model without it

    @property
    def labels(self) -> list[str]:
        return [label.name for label in self.bundle.labels]

    @property
    def spec(self) -> PreprocessSpec:
        return self.bundle.preprocess

    @property
    def tolerance(self) -> float:
        """Largest allowed difference of a golden logit, as a share of the logits' spread."""
        precision = self.precision.split(".")[0]
        return golden_vectors.TOLERANCE.get(precision, golden_vectors.OTHER_TOLERANCE)

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax."""
        return temperature_of(self.bundle.manifest, self.precision)

    @cached_property
    def rejection(self) -> Rejection | None:
        """How the app tells images of no class; None for a model that cannot.

        Raises: BundleError: prototypes that do not fit the classes.
        """
        found = rejection_of(
            self.bundle.manifest, self.precision, self.bundle.path, len(self.labels)
        )
        if found is None or not found.needs_features or self.width is not None:
            return found
        return None  # a target without features

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model.read_bytes()).hexdigest()

    @property
    def kilobytes(self) -> str:
        return f"{self.model.stat().st_size / 1000:,.0f}"

    @cached_property
    def golden(self) -> list[GoldenCase]:
        """Golden images with their crops, each crop proved by the bundle's own hash.

        Raises: ExportError: none for this model, or this machine gets other pixels.
        """
        files = self.bundle.manifest["files"]
        if GOLDEN not in files:
            raise ExportError(f"{self.bundle.path} has no {GOLDEN}", remedy="rebuild it")
        arrays: dict[str, np.ndarray] = {}
        for name in (TARGETS_GOLDEN, GOLDEN):
            if name in files:
                arrays |= golden_vectors.read(self.bundle.path / name)
        logits = arrays.get(f"logits.{self.precision}")
        if logits is None:
            got = ", ".join(sorted(name for name in arrays if name.startswith("logits.")))
            remedy = "compress export makes them with the model; or choose another --precision"
            what = f"the golden vectors have no logits of {self.precision}"
            raise ExportError(what, got=got or "none", remedy=remedy)
        return [_case(index, arrays, logits[index], self.spec) for index in range(len(logits))]


def read_source(bundle: str | Path, precision: str = "auto") -> AppSource:
    """The bundle as an app needs it.

    Raises:
        BundleError: a damaged bundle, or no such model.
        ExportError: a model whose input is not float32 (B, 3, S, S), or names of other characters.
    """
    opened = open_bundle(bundle)
    key = opened.default if precision == "auto" else precision
    model = opened.model(key)
    name, batch, width = _shape(model, opened.preprocess.size)
    for what, text in (("name of the model", key), ("input of the model", name)):
        if not PLAIN_NAME.fullmatch(text):
            raise ExportError(what, got=repr(text), expected="letters, digits, '.', '_' and '-'")
    lines: list[str] = []
    if CARD in opened.manifest["files"]:
        lines = (opened.path / CARD).read_text(encoding="utf-8", errors="replace").splitlines()
    headings = (line[2:].strip() for line in lines if line.startswith("# "))
    title = plain_text(next(filter(None, headings), "classifier"))
    return AppSource(opened, key, model, title, name, batch, width)


def write_golden(source: AppSource, folder: Path) -> list[str]:
    """Writes golden images, crops and logits; returns the image files' names.

    Per image ``<i>.png`` or ``.jpg``, ``<i>.rgb`` (uint8 S x S x 3) and ``<i>.f32`` (K
    little-endian).
    """
    folder.mkdir()
    names = []
    for index, case in enumerate(source.golden):
        names.append(f"{index}{case.suffix}")
        (folder / names[-1]).write_bytes(case.image)
        (folder / f"{index}.rgb").write_bytes(case.pixels.tobytes())
        (folder / f"{index}.f32").write_bytes(case.logits.astype("<f4").tobytes())
    return names


def write_prototypes(source: AppSource, folder: Path) -> str | None:
    """Writes the prototypes of the classes; None where the app's score has no use for them."""
    rejection = source.rejection
    if rejection is None or rejection.prototypes is None:
        return None
    (folder / PROTOTYPES).write_bytes(rejection.prototypes.astype("<f4").tobytes())
    return PROTOTYPES


def _case(
    index: int, arrays: Mapping[str, np.ndarray], logits: np.ndarray, spec: PreprocessSpec
) -> GoldenCase:
    encoded = arrays[f"img_{index}"].tobytes()
    image = decode(encoded)
    pixels = geometry(image, spec)
    if golden_vectors.hash_of(pixels) != str(arrays["cropped"][index]):
        remedy = "compress verify BUNDLE names the step; make the app where the bundle verifies"
        raise ExportError(f"golden image {index} has other pixels on this machine", remedy=remedy)
    for magic, suffix in PLAIN_SUFFIXES.items():
        if encoded.startswith(magic):
            return GoldenCase(encoded, suffix, pixels, logits)
    buffer = io.BytesIO()  # no app decodes this format: the same pixels as PNG
    image.save(buffer, "PNG")
    return GoldenCase(buffer.getvalue(), ".png", pixels, logits)


def _shape(model: Path, size: int) -> tuple[str, int | None, int | None]:
    """Name and fixed batch of a model's only input, and the width of its features."""
    remedy = "choose another --precision"
    if model.suffix != ".onnx":
        raise ExportError("an app needs an .onnx file", got=model.name, remedy=remedy)
    graph = onnx.load(model, load_external_data=False).graph
    outputs = [value.name for value in graph.output]
    if OUTPUT not in outputs:
        raise ExportError(f"{model.name} has no output {OUTPUT}", got=outputs)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    tensors = [value.type.tensor_type for value in inputs]
    shapes = [[dim.dim_value or None for dim in tensor.shape.dim] for tensor in tensors]
    types = [tensor.elem_type for tensor in tensors]
    images = ([3, size, size], [3, None, None])
    if types != [FLOAT] or len(shapes[0]) != 4 or shapes[0][1:] not in images:
        names = (onnx.TensorProto.DataType.Name(kind) for kind in types)
        what = f"{model.name} has another input than apps feed"
        got = list(zip(names, shapes, strict=True))
        expected = f"one float32 (B, 3, {size}, {size})"
        raise ExportError(what, got=got, expected=expected, remedy=remedy)
    features = next((v.type.tensor_type for v in graph.output if v.name == FEATURES), None)
    dims = list(features.shape.dim) if features is not None else []
    return inputs[0].name, shapes[0][0], dims[1].dim_value or None if len(dims) == 2 else None
