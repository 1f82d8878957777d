"""What a target is: a base, and forms of it, each a row of a table. ``int8.u8in.batch1`` is a base
and two forms.

    base   fp32  int8  int8.trt      as in the bundle
           fp16  bf16                made from fp32 (export/targets/half.py)
    form   opsetN  irN               another version of the same graph
           u8in  image               preprocessing in the graph
           batch1                    batch fixed to 1, shape arithmetic computed
           ort                       ORT format, for mobile

A target that is no ONNX file is a row of ``BUILDERS``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from onnx import ModelProto

from compress.engine.errors import ExportError, nearest
from export.targets import half, pixels, shapes, versions
from export.targets.scan import TensorRange
from runtime.preprocess import PreprocessSpec

Scan = Callable[[ModelProto], dict[str, TensorRange]]
BF16_OPSET = 22  # the first whose Conv and pools take bfloat16
ANTIALIAS_OPSET = 18  # the first whose Resize can antialias


@dataclass(frozen=True)
class Base:
    """A precision: the model of the bundle that it comes from, and how far its logits may move from
    that model's.

    Attributes:
        source: key in the bundle.
        share: tolerance as a share of the logits' range, beyond the noise floor (golden.py has the
            same for devices).
        half: a row of ``half.KINDS`` where the precision is made here.
        opset: the oldest that has its operators in that precision.
    """

    source: str
    share: float
    half: str | None = None
    opset: int = 0


BASES = {
    "fp32": Base("fp32", 1e-3),
    "int8": Base("int8", 2e-2),
    "int8.trt": Base("int8.trt", 2e-2),
    "fp16": Base("fp32", 2e-2, half="fp16"),
    "bf16": Base("fp32", 5e-2, half="bf16", opset=BF16_OPSET),
}


@dataclass(frozen=True)
class Form:
    """One change of the graph.

    Attributes:
        apply: (model, spec, number in the name) -> model.
        numbered: the name ends in a number, e.g. ``opset18``.
        excludes: forms that cannot be combined with it.
        opset: the oldest that has its operators.
        note: what a user must know, for the manifest's "why".
    """

    apply: Callable[[ModelProto, PreprocessSpec, int], ModelProto]
    numbered: bool = False
    excludes: frozenset[str] = frozenset()
    note: str = ""
    opset: int = 0


FORMS = {  # in the order in which they are applied
    "opset": Form(lambda model, spec, n: versions.with_opset(model, n), numbered=True),
    "u8in": Form(
        lambda model, spec, n: pixels.takes_pixels(model, spec),
        excludes=frozenset({"image"}),
        note="takes uint8 (B, S, S, 3), cropped as preprocess.json says",
    ),
    "image": Form(
        lambda model, spec, n: pixels.takes_image(model, spec),
        excludes=frozenset({"u8in"}),
        opset=ANTIALIAS_OPSET,
        note="takes one upright RGB image, uint8 (1, H, W, 3); TensorRT's parser has no "
        "antialiased Resize",
    ),
    "batch1": Form(lambda model, spec, n: shapes.with_batch(model, 1)),
    "ir": Form(lambda model, spec, n: versions.with_ir(model, n), numbered=True),
    "ort": Form(
        lambda model, spec, n: model,
        note="ORT format at optimization level extended, which x86 and ARM share; "
        "*.operators.txt beside it is for a reduced build",
    ),
}

BUILDERS: dict[str, str] = {"tensorrt": "export.tensorrt.build:rows"}
"""Targets that are no ONNX file: name -> "module:function", (bundle folder) -> rows of
manifest.json["targets"].
"""


@dataclass(frozen=True)
class Target:
    """A target as asked for: its base, and its forms with their numbers, in the order in which they
    are applied.
    """

    base: str
    forms: tuple[tuple[str, int], ...]

    @property
    def key(self) -> str:
        """Its name in the manifest and in ``precision=``."""
        return ".".join(
            [
                self.base,
                *(form + (str(n) if FORMS[form].numbered else "") for form, n in self.forms),
            ]
        )

    @property
    def is_ort(self) -> bool:
        """Whether the file is in ORT format."""
        return any(form == "ort" for form, _ in self.forms)

    @property
    def file(self) -> str:
        """Its file name in the bundle."""
        stem = ".".join(part for part in self.key.split(".") if part != "ort")
        return f"model.{stem}.ort" if self.is_ort else f"model.{self.key}.onnx"

    @property
    def takes_image(self) -> bool:
        """Whether the resize is in the graph."""
        return any(form == "image" for form, _ in self.forms)

    @property
    def notes(self) -> list[str]:
        """What its forms say about themselves."""
        return [FORMS[form].note for form, _ in self.forms if FORMS[form].note]


def parse(name: str, opset: int | None = None, ir: int | None = None) -> Target:
    """The target that ``name`` means, e.g. ``int8.u8in`` or ``fp32.batch1``; ``opset`` and ``ir``
    are further forms.

    Raises:
        ExportError: an unknown base or form, one twice, two that exclude each other, or a file that
            is there already.
    """
    base = max((b for b in BASES if name == b or name.startswith(f"{b}.")), key=len, default=None)
    if base is None:
        raise ExportError(
            "unknown export target", got=repr(name), remedy=nearest(name, [*examples(), *BUILDERS])
        )
    found: dict[str, int] = {}
    for part in [
        *name[len(base) :].split(".")[1:],
        *([f"opset{opset}"] if opset else []),
        *([f"ir{ir}"] if ir else []),
    ]:
        match = re.fullmatch(r"([a-z]+)(\d+)", part)
        form, number = (match[1], match[2]) if match and part not in FORMS else (part, "")
        if form not in FORMS or FORMS[form].numbered != bool(number):
            raise ExportError(
                f"unknown form of target {name!r}",
                got=repr(part),
                remedy=nearest(part, shown_forms()),
            )
        if form in found or FORMS[form].excludes & set(found):
            raise ExportError(
                f"target {name!r}",
                got=f"{part} with {', '.join(found)}",
                expected="forms that go together",
            )
        found[form] = int(number or 0)
    if BASES[base].half is None and not found:
        raise ExportError(
            f"{base} is in the bundle already",
            got=repr(name),
            expected=f"a form of it, e.g. {base}.batch1",
            remedy=f"one of: {', '.join(examples())}",
        )
    return Target(base, tuple((form, found[form]) for form in FORMS if form in found))


def examples() -> list[str]:
    """Names of usual targets."""
    return [
        "fp16",
        "bf16",
        "fp32.batch1",
        "int8.batch1",
        "int8.u8in",
        "int8.image",
        "int8.ort",
        "fp32.opset18",
        "fp32.ir9",
    ]


def shown_forms() -> list[str]:
    """The forms as they are written."""
    return [name + ("N" if form.numbered else "") for name, form in FORMS.items()]


def make(
    target: Target, source: ModelProto, spec: PreprocessSpec, scan: Scan
) -> tuple[ModelProto, half.HalfReport | None]:
    """The target's graph from its source model, and the report of half precision where it has one.

    Raises:
        ExportError: a form that the graph does not allow.
    """
    model, report, base = source, None, BASES[target.base]
    numbers = dict(target.forms)
    oldest = max([base.opset, *(FORMS[form].opset for form in numbers)])
    if "opset" not in numbers and versions.opset_of(model) < oldest:
        model = versions.with_opset(model, oldest)
    if "opset" in numbers:
        model = versions.with_opset(model, numbers.pop("opset"))
    if base.half is not None:
        model, report = half.in_half(model, scan(model) if base.half == "fp16" else {}, base.half)
    for form, number in numbers.items():
        model = FORMS[form].apply(model, spec, number)
    return model, report
