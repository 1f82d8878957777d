"""Estimates of the stages that a plan would make, in hours on devices, before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compress.budgets.variants import HOST
from compress.cost.amounts import Amounts, known_amounts
from compress.cost.calibration import Measured, measured_rate
from compress.cost.devices import Trainer, trainers
from compress.cost.work import (
    Work,
    data_work,
    distill_work,
    generate_work,
    label_work,
    quantize_work,
    teacher_work,
)
from compress.engine.config import Settings
from compress.engine.plan import Step
from compress.engine.store import Facts, Store

#: stages without an estimate: no network decides how long they take
WITHOUT = ("export", "bench", "report")
BEHIND = "the whole stage; a part of it is made already"


@dataclass(frozen=True)
class DeviceTime:
    """How long a stage computes on a device.

    Attributes:
        device: a name of ``devices.yaml``, or "host" for this machine.
        arithmetic: what its networks compute in there.
        rate: FLOP/s.
        peak: FLOP/s that the device could reach at most; None where the rate was measured.
        measured_s: the seconds of the finished stage of this work folder that reached the rate;
            None: it is assumed.
    """

    device: str
    arithmetic: str
    seconds: float
    rate: float
    peak: float | None = None
    measured_s: float | None = None


@dataclass(frozen=True)
class StageEstimate:
    """What a stage would cost. Never a measurement.

    Attributes:
        unit: what ``amount`` counts: "images", "views" or "steps".
        teacher_calls: images that a teacher sees.
        flops: of its networks; None: unknown, ``notes`` say why.
        bytes: on the disk when it is finished.
        peak_bytes: the most while it is made.
        per_class: figures of one class: their number is not known before the data stage.
        times: one row a device; (): no FLOPs to divide.
    """

    stage: str
    unit: str
    amount: int
    teacher_calls: int
    flops: int | None
    bytes: int
    peak_bytes: int
    per_class: bool
    times: tuple[DeviceTime, ...]
    notes: tuple[str, ...] = ()


def estimates(settings: Settings, steps: Sequence[Step], store: Store) -> list[StageEstimate]:
    """A row for each stage of a plan that is not finished and that a network works in.

    Raises:
        ConfigError: settings that name no network.
    """
    finished = {
        step.stage: store.get(step.stage, step.key)
        for step in steps
        if step.action == "keep" and step.key
    }
    facts = {name: artifact.facts for name, artifact in finished.items() if artifact}
    to_make = {step.stage: step.action for step in steps if step.action != "keep"}
    amounts = known_amounts(settings, facts.get("data"))
    rows = []
    for work in _works(settings, amounts, facts, to_make):
        notes = (*work.notes, *([BEHIND] if to_make[work.stage] == "resume" else []))
        if work.stage != "data":
            notes = (*amounts.notes, *notes)
        times = tuple(_times(work, measured_rate(store, settings, work.stage)))
        rows.append(
            StageEstimate(
                work.stage,
                work.unit,
                work.amount,
                work.teacher_calls,
                work.flops,
                work.bytes,
                work.peak_bytes,
                amounts.per_class,
                times,
                tuple(dict.fromkeys(notes)),
            )
        )
    return rows


def _works(
    settings: Settings, amounts: Amounts, facts: dict[str, Facts], wanted: dict[str, str]
) -> Iterator[Work]:
    if "data" in wanted:
        yield data_work(settings, amounts)
    if "teacher" in wanted:
        yield teacher_work(settings, amounts)
    generated = None
    if "generate" not in facts:
        generated = generate_work(settings, amounts)
        if "generate" in wanted:
            yield generated
    synthetic = generated.amount if generated else facts["generate"]["images"]
    if "label" in wanted:
        yield label_work(settings, amounts, synthetic)
    if "distill" in wanted:
        yield distill_work(settings, amounts, synthetic)
    if "quantize" in wanted:
        yield quantize_work(settings, amounts)


def _times(work: Work, measured: Measured | None) -> Iterator[DeviceTime]:
    """The devices that a stage can run on; of this machine what it reached, where it is known."""
    if not work.flops:
        return
    for trainer in trainers():
        here = trainer.name == HOST
        if work.on_cpu and not here:
            continue
        arithmetic = _arithmetic(work, trainer)
        if here and measured is not None:
            seconds = work.flops / measured.rate
            yield DeviceTime(HOST, arithmetic, seconds, measured.rate, None, measured.seconds)
            continue
        rate, peak = trainer.rate(arithmetic), trainer.peak_in(arithmetic)
        yield DeviceTime(trainer.name, arithmetic, work.flops / rate, rate, peak)


def _arithmetic(work: Work, trainer: Trainer) -> str:
    """What the networks of a stage compute in on a device."""
    wanted = "bf16" if work.arithmetic == "auto" else work.arithmetic
    return wanted if wanted in trainer.peak else "fp32"
