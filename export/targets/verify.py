"""Verifies a target: by its engine, else by onnx's reference evaluator, else it is unverified.

A format whose engine runs elsewhere alone is unverified, too, and says how an evaluator of ours ran
its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from compress.engine.errors import ExportError
from export.engines.table import FORMATS
from export.onnx.convert import save
from export.targets import half, parity
from export.targets.parity import SourceModel, TargetParity
from export.targets.table import BASES, Target
from runtime.backends import BACKENDS, readers
from runtime.errors import BackendError
from runtime.files.manifest import STATES

VERIFIED, UNVERIFIED = STATES


@dataclass(frozen=True)
class TargetVerdict:
    """The result of a check: its state, why, and the numbers where anything ran."""

    state: str
    why: str
    parity: TargetParity | None
    kernels: dict[str, int] | None = None  # kernel -> nodes, of an engine that counts them


def verify(
    target: Target, model: ModelProto, file: Path, source: SourceModel, scratch: Path
) -> TargetVerdict:
    """The verdict on a written target, whose graph is ``model``.

    Args:
        scratch: an existing folder.

    Raises: ParityError: the target computes something else than its source.
    """
    base = BASES[target.base]
    key = target.key
    rounding = ""
    rounded = None
    if base.half and not target.takes_image and not target.format:
        # with every half tensor rounded: float32 kernels would hide an overflow
        name = target.file.replace(".ort", ".onnx")
        runner = parity.load(save(half.emulated(model), scratch / "rounded" / name))
        version = runner.versions["onnxruntime"]
        engine = f"onnxruntime {version} in float32, every {base.half} tensor rounded"
        rounded = parity.against_source(key, runner, source, base.share, engine)
        rounding = f", and with every {base.half} tensor rounded (parity is of that run)"
    form = FORMATS.get(target.format)
    if form is not None and form.evaluator:
        try:
            runner = form.evaluate(file, source.spec)
        except ExportError as error:  # ours to mend: the engine itself may know the operator
            why = f"unverified here: {form.elsewhere}; {error.what}: {error.got}"
            return TargetVerdict(UNVERIFIED, why, None)
        engine = parity.engine_of(runner)
        ran = parity.against_source(key, runner, source, base.share, engine)
        why = f"unverified here: {form.elsewhere}; {_likeness(ran)} {_where(ran)}"
        return TargetVerdict(UNVERIFIED, why, ran)
    try:
        runner = parity.load(file)
    except BackendError as error:
        refusal = str(error.got or error.what)
    else:
        engine = parity.engine_of(runner)
        if target.takes_image:
            ran = parity.whole_images(key, runner, model, source, base.share, engine)
        else:
            ran = parity.against_source(key, runner, source, base.share, engine)
        why = f"{_likeness(ran)} {_where(ran)}{rounding}"
        if not target.format:
            return TargetVerdict(VERIFIED, why, rounded or ran)
        kernels = dict(getattr(runner, "kernels", {}))
        why += _int8_words(target.base, file, kernels)
        return TargetVerdict(VERIFIED, why, ran, kernels or None)
    also = f"; the same as {source.key} in float32{rounding}" if rounded else ""
    if target.is_ort or target.takes_image or target.format:
        why = f"unverified here: {refusal}; no other engine reads it{also}"
        return TargetVerdict(UNVERIFIED, why, rounded)
    try:
        ran = parity.with_reference_evaluator(key, model, source, base.share)
    except ExportError:  # it ran, and computes something else
        raise
    except Exception as error:  # the evaluator raises anything for an operator that it lacks
        evaluator = f"onnx's reference evaluator: {type(error).__name__} {str(error)[:100]}"
        why = f"unverified here: {refusal}; {evaluator.rstrip()}{also}"
        return TargetVerdict(UNVERIFIED, why, rounded)
    why = f"the same as {_where(ran)}{rounding}; no engine here runs it: {refusal}"
    return TargetVerdict(VERIFIED, why, rounded or ran)


def _int8_words(base: str, file: Path, kernels: dict[str, int]) -> str:
    """Whether an int8 target ran on integer kernels, by the engine's own account."""
    if not base.startswith("int8"):
        return ""
    if not kernels:
        return "; the engine does not tell which kernels ran"
    row = BACKENDS[readers(file.suffix)[0]]
    integer = sum(count for name, count in kernels.items() if name in row.integer_kernels)
    floating = sum(count for name, count in kernels.items() if name in row.float_kernels)
    return f"; {integer} of {integer + floating} convolutions and products ran on integer kernels"


def _where(ran: TargetParity) -> str:
    return f"{ran.against} on {ran.images} images ({ran.images_from}), run by {ran.engine}"


def _likeness(ran: TargetParity) -> str:
    if ran.pixel_max is None:
        return "the same as"
    pixels = f"pixels at most {ran.pixel_max:.0f}/255 apart (mean {ran.pixel_mean:.2g})"
    return f"{pixels} and {ran.agreement:.1%} the same labels as the reference preprocessing with"
