"""The source of an app: one model of a verified bundle, labels, preprocessing, golden vectors."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx

from compress.engine.errors import ExportError
from export.bundle.files import CARD
from export.bundle.markdown import plain_text
from export.engines.table import FORMATS
from export.onnx.graph import OUTPUT
from export.targets.table import BASES, parse
from runtime import golden as golden_vectors
from runtime.bundle import FEATURES, GOLDEN, Bundle, open_bundle
from runtime.files.confidence import rejection_of, temperature_of
from runtime.golden import TARGETS_GOLDEN
from runtime.preprocess import PreprocessSpec, decode, geometry
from runtime.rejection import Rejection

Vendored = Mapping[str, Path]

FLOAT = onnx.TensorProto.FLOAT
OTHER_INPUT = {"u8in", "image"}  # modifiers of targets: apps feed floats
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


def read_source(
    bundle: str | Path, precision: str = "auto", formats: Sequence[str] = (".onnx",)
) -> AppSource:
    """The bundle as an app needs it.

    Args:
        precision: key of a model or export target; "auto" is the bundle's default, or a verified
            target of it in a format that comes earlier in ``formats``.
        formats: suffixes of the files that the app's engines read, the best first.

    Raises:
        BundleError: a damaged bundle, or no such model.
        ExportError: a model whose input is not float32 (B, 3, S, S), or names of other characters.
    """
    opened = open_bundle(bundle)
    key = _preferred(opened, formats) if precision == "auto" else precision
    model = opened.model(key)
    if model.suffix not in formats:
        what = f"this app runs files of type {' or '.join(formats)}"
        names = [name for name, row in FORMATS.items() if row.suffix in formats]
        more = f", or first compress export BUNDLE --to {names[0]}.int8" if names else ""
        raise ExportError(what, got=model.name, remedy=f"choose another --precision{more}")
    name, batch, width = _shape(opened, key)
    for what, text in (("name of the model", key), ("input of the model", name)):
        if not PLAIN_NAME.fullmatch(text):
            raise ExportError(what, got=repr(text), expected="letters, digits, '.', '_' and '-'")
    lines: list[str] = []
    if CARD in opened.manifest["files"]:
        lines = (opened.path / CARD).read_text(encoding="utf-8", errors="replace").splitlines()
    headings = (line[2:].strip() for line in lines if line.startswith("# "))
    title = plain_text(next(filter(None, headings), "classifier"))
    return AppSource(opened, key, model, title, name, batch, width)


def _preferred(opened: Bundle, formats: Sequence[str]) -> str:
    """The bundle's default, or a verified target of it in an earlier one of ``formats``."""
    verified = [key for key, row in opened.targets.items() if row["state"] == "verified"]
    same = sorted((key for key in verified if key.startswith(f"{opened.default}.")), key=len)
    ranks = {suffix: rank for rank, suffix in enumerate(formats)}
    suffixes = {key: opened.model(key).suffix for key in (opened.default, *same)}
    return min(suffixes, key=lambda key: ranks.get(suffixes[key], len(ranks)))


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


def _shape(opened: Bundle, key: str) -> tuple[str, int | None, int | None]:
    """Name and fixed batch of a model's only input, and the width of its features.

    A file in another format has those of the ONNX model that it was made from.
    """
    model = opened.model(key)
    if model.suffix == ".onnx":
        return _shape_of_graph(model, opened.preprocess.size)
    target = parse(key)
    modifiers = {name for name, _ in target.modifiers}
    if refused := OTHER_INPUT & modifiers:
        remedy = "choose another --precision"
        what = f"{model.name} has another input than apps feed"
        raise ExportError(what, got=f"a target with {', '.join(refused)}", remedy=remedy)
    origin = opened.model(BASES[target.base].source)
    name, batch, width = _shape_of_graph(origin, opened.preprocess.size)
    return name, batch, None if "logits" in modifiers else width


def _shape_of_graph(model: Path, size: int) -> tuple[str, int | None, int | None]:
    remedy = "choose another --precision"
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
