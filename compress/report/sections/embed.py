"""The section "In your app": what an app that embeds the shipped file has to reckon with."""

from __future__ import annotations

from dataclasses import dataclass

from compress.report.model.report import Report, variant_of
from compress.report.sections.confidence import rejection_sentence
from compress.report.sections.headline import measured_on
from compress.report.wording import count, millijoules, milliseconds, size, variant

SHOWN_HASH = 16  # digits of a SHA-256


@dataclass(frozen=True)
class Fact:
    """A figure and what it means."""

    what: str
    value: str
    note: str = ""


def facts(report: Report) -> list[Fact]:
    """What is known of the shipped file, in the order of a hardware budget."""
    shipped = report.shipped
    return [
        fact
        for fact in (_file(report, shipped), *_frames(report, shipped), *_memory(report, shipped))
        + (_work(report), _energy(report, shipped), *_estimates(report), _unknown(report))
        if fact.value
    ]


def _file(report: Report, shipped: str) -> Fact:
    digest = report.student.sha256.get(shipped, "")[:SHOWN_HASH]
    date = (report.environment.date or "")[:10]
    told = ", ".join(filter(None, (f"SHA-256 {digest}…" if digest else "", date)))
    return Fact("file", f"{variant(shipped)}, {size(report.size_bytes.get(shipped))}", told)


def _frames(report: Report, shipped: str) -> tuple[Fact, ...]:
    """Frames a second of one thread after the other: without a pipeline, as a simple app runs."""
    part = (report.breakdown or {}).get(shipped.removeprefix("student_"))
    if part is None:
        return ()
    camera = part.end_to_end_ms - part.decode_ms
    wholes = [row.image for row in report.latency if row.image and variant_of(row) == shipped]
    image = f" ({wholes[0]})" if wholes else ""
    where = measured_on(report)
    return (
        Fact(
            "a camera frame to its answer",
            _rate(camera),
            f"resize, crop, normalize, network, softmax: {milliseconds(camera)}; {where}",
        ),
        Fact(
            "an encoded image to its answer",
            _rate(part.end_to_end_ms),
            f"decoded first{image}: {milliseconds(part.end_to_end_ms)}",
        ),
    )


def _rate(ms: float) -> str:
    return f"{1000 / ms:,.0f} frames a second" if ms > 0 else ""


def _memory(report: Report, shipped: str) -> tuple[Fact, ...]:
    cold = report.cold.get(shipped)
    if cold is None:
        return ()
    whole, engine = cold.peak_rss_bytes, cold.engine_bytes
    return (
        Fact(
            "memory with Python",
            size(whole) if whole else "",
            "the most that a new process held, with numpy and Pillow",
        ),
        Fact(
            "memory of engine and model",
            size(engine) if engine else "",
            "what they add to it: about what a C++ app holds",
        ),
    )


def _work(report: Report) -> Fact:
    macs, params = report.student.macs, report.student.params
    value = f"{count(macs)} multiply-accumulates" if macs else ""
    return Fact("work for one image", value, f"{count(params)} parameters" if params else "")


def _energy(report: Report, shipped: str) -> Fact:
    row = report.compute_row(shipped)
    if row is not None and row.energy is not None:
        return Fact("energy", millijoules(row.energy.mj_per_inference), "of one inference")
    return Fact("energy", "not measured", "this machine has no sensor that can be read")


def _estimates(report: Report) -> tuple[Fact, ...]:
    """What a budget asked of devices that were not measured."""
    return tuple(
        Fact(
            f"on {limit.device}",
            f"{milliseconds(limit.value)}, an estimate",
            "from the graph and the device's data sheet, not measured",
        )
        for limit in report.budgets
        if limit.basis == "estimate" and limit.unit == "ms" and limit.value and limit.device
    )


def _unknown(report: Report) -> Fact:
    told = rejection_sentence(report)
    value = "told apart" if report.confidence.rejection else "named like any other"
    return Fact("an image of no class", value, told or "every image gets one of the classes")
