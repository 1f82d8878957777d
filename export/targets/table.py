"""The names of targets: a base and modifiers of it, each a row; ``int8.u8in.batch1`` has two.

base       fp32  int8  int8.trt      as in the bundle
           fp16  bf16                computed from fp32 (export/targets/half.py)
modifier   opsetN  irN               another version of the same graph
           u8in  image               preprocessing in the graph
           logits                    one output: without the features
           batch1                    batch fixed to 1, shape arithmetic computed
           ort                       ORT format, for mobile
           openvino ...              another engine's own format (export/engines); "openvino.int8"
                                     is "int8.openvino"
engine     tensorrt                  built on this machine from the finished bundle; no file
                                     of it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from compress.engine.errors import ExportError, nearest
from export.bundle.files import model_file
from export.engines.table import FORMATS
from export.onnx.graph import without_features
from export.targets import half, pixels, shapes, versions
from export.targets.ort_format import SUFFIX as ORT_SUFFIX
from export.targets.scan import TensorRange
from runtime.preprocess import PreprocessSpec

Row = dict[str, Any]  # of manifest["targets"]
Scan = Callable[[ModelProto], dict[str, TensorRange]]
BF16_OPSET = 22  # the first whose Conv and pools take bfloat16
ANTIALIAS_OPSET = 18  # the first whose Resize can antialias


@dataclass(frozen=True)
class Base:
    """A precision."""

    source: str  # key of its model in the bundle
    # tolerance as a share of the logits' range, beyond the noise floor; as golden.py's for devices
    share: float
    half: str | None = None  # a key of half.KINDS where the precision is computed here
    opset: int = 0  # the oldest that has its operators in that precision


BASES = {
    "fp32": Base("fp32", 1e-3),
    "int8": Base("int8", 2e-2),
    "int8.trt": Base("int8.trt", 2e-2),
    "fp16": Base("fp32", 2e-2, half="fp16"),
    "bf16": Base("fp32", 5e-2, half="bf16", opset=BF16_OPSET),
}


@dataclass(frozen=True)
class Modifier:
    """One change of a base's graph."""

    apply: Callable[[ModelProto, PreprocessSpec, int], ModelProto]  # number: in the name, or 0
    numbered: bool = False  # the name ends in a number, e.g. opset18
    excludes: str = ""  # a modifier that cannot be combined with it
    note: str = ""  # what a user must know, for the manifest's "why"
    opset: int = 0  # the oldest that has its operators


MODIFIERS = {  # in the order in which they are applied
    "opset": Modifier(lambda model, spec, n: versions.with_opset(model, n), numbered=True),
    "u8in": Modifier(
        lambda model, spec, n: pixels.takes_pixels(model, spec),
        excludes="image",
        note="takes uint8 (B, S, S, 3), cropped as preprocess.json says",
    ),
    "image": Modifier(
        lambda model, spec, n: pixels.takes_image(model, spec),
        excludes="u8in",
        opset=ANTIALIAS_OPSET,
        note="takes one upright RGB image, uint8 (1, H, W, 3); TensorRT's parser has no "
        "antialiased Resize",
    ),
    "logits": Modifier(
        lambda model, spec, n: without_features(model), note="has the logits alone, no features"
    ),
    "batch1": Modifier(lambda model, spec, n: shapes.with_batch(model, 1)),
    "ir": Modifier(lambda model, spec, n: versions.with_ir(model, n), numbered=True),
    "ort": Modifier(
        lambda model, spec, n: model,
        note="ORT format at optimization level extended, which x86 and ARM share; "
        "*.operators.txt beside it is for a reduced build",
    ),
}

EXAMPLES = (  # usual targets, for messages
    *("fp16", "bf16", "fp32.batch1", "int8.batch1", "int8.u8in", "int8.image", "int8.ort"),
    *("int8.logits", "fp32.opset18", "fp32.ir9"),
    *(f"{row.precisions[0]}.{name}" for name, row in FORMATS.items()),
)


def _tensorrt(bundle: Path) -> dict[str, Row]:
    from runtime.commands.engine import rows_for_export

    return rows_for_export(bundle)


# Targets without a file in the bundle: name -> (bundle folder) -> a row per model. An engine is for
# one GPU and one TensorRT, so it lies in the user's cache, and the manifest does not name it.
ENGINES: dict[str, Callable[[Path], dict[str, Row]]] = {"tensorrt": _tensorrt}


@dataclass(frozen=True)
class Target:
    """A base, and modifiers with their numbers in the order in which they are applied."""

    base: str
    modifiers: tuple[tuple[str, int], ...]
    format: str = ""  # a row of FORMATS

    @property
    def key(self) -> str:
        """Its name in the manifest and in ``precision=``."""
        parts = [f"{name}{number or ''}" for name, number in self.modifiers]
        return ".".join(filter(None, [self.base, *parts, self.format]))

    @property
    def is_ort(self) -> bool:
        """Whether the file is in ORT format."""
        return "ort" in dict(self.modifiers)

    @property
    def file(self) -> str:
        """Its file name in the bundle."""
        if self.format:
            return model_file(self.key, FORMATS[self.format].suffix)
        if self.is_ort:
            return model_file(self.key.removesuffix(ORT_SUFFIX), ORT_SUFFIX)
        return model_file(self.key)

    @property
    def takes_image(self) -> bool:
        """Whether the resize is in the graph."""
        return "image" in dict(self.modifiers)

    @property
    def notes(self) -> list[str]:
        """The notes of its modifiers and of its format."""
        notes = [MODIFIERS[name].note for name, _ in self.modifiers]
        return list(filter(None, [*notes, FORMATS[self.format].note if self.format else ""]))


def parse(name: str, opset: int | None = None, ir: int | None = None) -> Target:
    """The target of a name, e.g. ``int8.u8in``; ``opset`` and ``ir`` are further modifiers.

    Raises: ExportError: an unknown base or modifier, one twice, two that exclude each other, or a
        file that the bundle has already.
    """
    name, own = _without_format(name)
    base = max((b for b in BASES if name == b or name.startswith(f"{b}.")), key=len, default=None)
    if base is None:
        remedy = nearest(name, [*EXAMPLES, *ENGINES])
        raise ExportError("unknown export target", got=repr(name), remedy=remedy)
    numbers: dict[str, int] = {}
    extra = [f"{key}{number}" for key, number in (("opset", opset), ("ir", ir)) if number]
    for part in [*name[len(base) :].split(".")[1:], *extra]:
        match = re.fullmatch(r"([a-z]+)(\d+)", part)
        modifier, number = (match[1], match[2]) if match and part not in MODIFIERS else (part, "")
        if modifier not in MODIFIERS or MODIFIERS[modifier].numbered != bool(number):
            written = [key + ("N" if row.numbered else "") for key, row in MODIFIERS.items()]
            what = f"unknown modifier of target {name!r}"
            raise ExportError(what, got=repr(part), remedy=nearest(part, written))
        if modifier in numbers or MODIFIERS[modifier].excludes in numbers:
            got = f"{part} with {', '.join(numbers)}, which do not go together"
            raise ExportError(f"target {name!r}", got=got)
        numbers[modifier] = int(number or 0)
    modifiers = tuple((key, numbers[key]) for key in MODIFIERS if key in numbers)
    if own:
        _require_written(own, base, numbers)
        return Target(base, modifiers, own)
    if BASES[base].half is None and not numbers:
        expected = f"a modifier of it, e.g. {base}.batch1"
        remedy = f"one of: {', '.join(EXAMPLES)}"
        raise ExportError(f"{base} is in the bundle already", expected=expected, remedy=remedy)
    return Target(base, modifiers)


def _without_format(name: str) -> tuple[str, str]:
    """ "int8.openvino" or "openvino.int8" -> ("int8", "openvino"); else the name and ""."""
    parts = name.split(".")
    own = next((part for part in (parts[0], parts[-1]) if part in FORMATS), "")
    if name == own != "":
        expected = " or ".join(f"{precision}.{own}" for precision in FORMATS[own].precisions)
        raise ExportError(f"target {name} without a precision", expected=expected)
    if own:
        parts.remove(own)
    return ".".join(parts), own


def _require_written(own: str, base: str, modifiers: Collection[str]) -> None:
    """Raises ExportError if a format is not written from a base, or not with these modifiers."""
    row = FORMATS[own]
    if base not in row.precisions:
        expected = ", ".join(row.precisions)
        raise ExportError(f"precision of an {own} target", got=base, expected=expected)
    if other := sorted(set(modifiers) - set(row.modifiers)):
        expected = ", ".join(row.modifiers)
        raise ExportError(f"modifiers of an {own} target", got=", ".join(other), expected=expected)


def make(
    target: Target, source: ModelProto, spec: PreprocessSpec, scan: Scan
) -> tuple[ModelProto, half.HalfReport | None]:
    """The target's graph from its source model, and the report of half precision where it has one.

    Raises: ExportError: a modifier that the graph does not allow.
    """
    model = source
    report = None
    base = BASES[target.base]
    numbers = dict(target.modifiers)
    oldest = max([base.opset, *(MODIFIERS[name].opset for name in numbers)])
    if "opset" in numbers:
        model = versions.with_opset(model, numbers.pop("opset"))
    elif versions.opset_of(model) < oldest:
        model = versions.with_opset(model, oldest)
    if base.half is not None and not target.format:  # a format stores halves by itself
        model, report = half.in_half(model, scan(model) if base.half == "fp16" else {}, base.half)
    for name, number in numbers.items():
        model = MODIFIERS[name].apply(model, spec, number)
    return model, report
