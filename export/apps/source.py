"""What an app is made from: one model of a verified bundle, its labels, its preprocessing, its
golden vectors.
"""

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
from runtime import golden as golden_vectors
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.golden import TARGETS_GOLDEN
from runtime.preprocess import PreprocessSpec, decode, geometry

Vendored = Mapping[str, Path]

FLOAT = onnx.TensorProto.FLOAT
OUTPUT = "logits"
# Names end up in programs, scripts and configuration: of a hostile bundle they may not be more than
# names.
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PLAIN_SUFFIXES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
}  # what every app can decode, by magic number


@dataclass(frozen=True)
class GoldenCase:
    """One golden image: encoded as PNG or JPEG, its crop uint8 (S, S, 3), the model's logits
    float32 (K,).
    """

    image: bytes
    suffix: str
    pixels: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class AppSource:
    """A bundle, seen by an app.

    Attributes:
        bundle: the verified bundle.
        precision: key of the model in the manifest.
        model: its file.
        title: first heading of the model card, "classifier" where there is none.
        input_name: name of the float32 input (B, 3, S, S).
        fixed_batch: B where the graph fixes it, else None.
    """

    bundle: Bundle
    precision: str
    model: Path
    title: str
    input_name: str
    fixed_batch: int | None

    @property
    def labels(self) -> list[str]:
        return [label.name for label in self.bundle.labels]

    @property
    def spec(self) -> PreprocessSpec:
        return self.bundle.preprocess

    @property
    def tolerance(self) -> float:
        """Largest difference of a golden logit that another machine may show, as a share of the
        logits' spread.
        """
        return golden_vectors.TOLERANCE.get(
            self.precision.split(".")[0], golden_vectors.OTHER_TOLERANCE
        )

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.model.read_bytes()).hexdigest()

    @cached_property
    def golden(self) -> list[GoldenCase]:
        """Golden images with their crops, each crop proved by the bundle's own hash.

        Raises:
            ExportError: the bundle has none for this model, or this machine does not make the
                golden pixels.
        """
        if GOLDEN not in self.bundle.manifest["files"]:
            raise ExportError(
                f"{self.bundle.path} has no {GOLDEN}",
                expected="golden vectors",
                remedy="rebuild it",
            )
        listed = [
            name for name in (TARGETS_GOLDEN, GOLDEN) if name in self.bundle.manifest["files"]
        ]
        arrays = {
            key: array
            for name in listed
            for key, array in golden_vectors.read(self.bundle.path / name).items()
        }
        logits = arrays.get(f"logits.{self.precision}")
        if logits is None:
            raise ExportError(
                f"the golden vectors have no logits of {self.precision}",
                got=", ".join(sorted(name for name in arrays if name.startswith("logits.")))
                or "none",
                remedy="compress export makes them with the model; or choose another --precision",
            )
        return [_case(index, arrays, logits[index], self.spec) for index in range(len(logits))]


def read_source(bundle: str | Path, precision: str = "auto") -> AppSource:
    """The bundle as an app sees it.

    Raises:
        BundleError: a damaged bundle, or no such model.
        ExportError: a model whose input is not float32 (B, 3, S, S), or names that are no plain
            words.
    """
    opened = open_bundle(bundle)
    chosen = opened.default if precision == "auto" else precision
    model = opened.model(chosen)
    name, batch = _input(model, opened.preprocess.size)
    for what, text in (("name of the model", chosen), ("input of the model", name)):
        if not PLAIN_NAME.fullmatch(text):
            raise ExportError(what, got=repr(text), expected="letters, digits, '.', '_' and '-'")
    return AppSource(opened, chosen, model, _title(opened), name, batch)


def write_golden(source: AppSource, folder: Path) -> list[str]:
    """Writes per golden image ``<i>.png`` or ``.jpg``, ``<i>.rgb`` (uint8 S x S x 3) and
    ``<i>.f32`` (K little-endian).

    Returns the image files' names.
    """
    folder.mkdir()
    names = []
    for index, case in enumerate(source.golden):
        names.append(f"{index}{case.suffix}")
        (folder / names[-1]).write_bytes(case.image)
        (folder / f"{index}.rgb").write_bytes(case.pixels.tobytes())
        (folder / f"{index}.f32").write_bytes(case.logits.astype("<f4").tobytes())
    return names


def _case(
    index: int, arrays: Mapping[str, np.ndarray], logits: np.ndarray, spec: PreprocessSpec
) -> GoldenCase:
    encoded = arrays[f"img_{index}"].tobytes()
    image = decode(encoded)
    pixels = geometry(image, spec)
    if golden_vectors.hash_of(pixels) != str(arrays["cropped"][index]):
        raise ExportError(
            f"golden image {index} has other pixels on this machine",
            remedy="compress verify BUNDLE names the step; make the app where the bundle verifies",
        )
    suffix = next(
        (suffix for magic, suffix in PLAIN_SUFFIXES.items() if encoded.startswith(magic)), None
    )
    if suffix is None:  # no C++ decoder for it in the app: the same pixels as PNG
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        encoded, suffix = buffer.getvalue(), ".png"
    return GoldenCase(encoded, suffix, pixels, logits)


def _input(model: Path, size: int) -> tuple[str, int | None]:
    if model.suffix != ".onnx":
        raise ExportError(
            "model of an app",
            got=model.name,
            expected="an .onnx file",
            remedy="choose another --precision",
        )
    graph = onnx.load(model, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if OUTPUT not in {value.name for value in graph.output}:
        raise ExportError(
            f"{model.name} has no output {OUTPUT}", got=[value.name for value in graph.output]
        )
    shapes = [
        [dim.dim_value or None for dim in value.type.tensor_type.shape.dim] for value in inputs
    ]
    types = [value.type.tensor_type.elem_type for value in inputs]
    if (
        types != [FLOAT]
        or len(shapes[0]) != 4
        or shapes[0][1:] not in ([3, size, size], [3, None, None])
    ):
        raise ExportError(
            f"{model.name} has another input than apps feed",
            got=[
                (onnx.TensorProto.DataType.Name(kind), shape)
                for kind, shape in zip(types, shapes, strict=True)
            ],
            expected=f"one float32 (B, 3, {size}, {size})",
            remedy="choose another --precision",
        )
    return inputs[0].name, shapes[0][0]


def _title(bundle: Bundle) -> str:
    card = bundle.path / "README.md"
    if "README.md" not in bundle.manifest["files"]:
        return "classifier"
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    return next(
        (line[2:].strip() for line in lines if line.startswith("# ") and line[2:].strip()),
        "classifier",
    )
