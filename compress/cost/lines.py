"""Estimates as aligned plain lines, under a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compress.cost.devices import trainers
from compress.cost.estimate import WITHOUT, DeviceTime, StageEstimate
from compress.cost.units import duration, flops, size

HOST = "host"  # this machine, among devices
INDENT = 10  # columns of the first word, as in a plan
STAGE = 9  # and of the stage's name
NO_FIGURE = "no network decides their time, which is not in the sum"


def headline(name: str, rows: Sequence[StageEstimate]) -> list[str]:
    """What a plan comes to on this machine, in one line; no line for no row."""
    if not rows:
        return []
    each = " for each class" if any(row.per_class for row in rows) else ""
    here = [time.seconds for row in rows for time in row.times if time.device == HOST]
    parts = [size(sum(row.bytes for row in rows)) + each]
    if here:
        parts.insert(0, f"about {duration(sum(here))}{each} on this machine")
    return [f"{name}: {', '.join(parts)}; {', '.join(WITHOUT)} are not counted"]


def lines(rows: Sequence[StageEstimate]) -> list[str]:
    """The rows, their sum, and what is assumed; no line for no row."""
    if not rows:
        return []
    out = []
    for row in rows:
        out.append(_line("estimate", row.stage, [*_amounts(row), *_times(row.times)]))
        out += [_line("", "", [note]) for note in row.notes]
    if len(rows) > 1:
        out.append(_line("estimate", "together", _sum(rows)))
    return [*out, *_assumed(rows)]


def _line(word: str, stage: str, parts: Iterable[str]) -> str:
    return f"{word:{INDENT}} {stage:{STAGE}} {' · '.join(parts)}".rstrip()


def _amounts(row: StageEstimate) -> list[str]:
    each = " for each class" if row.per_class else ""
    parts = [f"{row.amount:,} {row.unit}{each}"]
    if row.teacher_calls:
        parts.append(f"{row.teacher_calls:,} teacher calls")
    if row.flops is None:
        parts.append("FLOPs unknown")
    elif row.flops:
        parts.append(flops(row.flops))
    more = f" ({size(row.peak_bytes)} while made)" if row.peak_bytes > row.bytes else ""
    return [*parts, size(row.bytes) + more]


def _times(times: Iterable[DeviceTime]) -> list[str]:
    return [f"{duration(time.seconds)} on {time.device}{_basis(time)}" for time in times]


def _basis(time: DeviceTime) -> str:
    if time.measured_s is None:
        return ""
    return f", measured here over {duration(time.measured_s)}"


def _sum(rows: Sequence[StageEstimate]) -> list[str]:
    """All stages together; a stage that only this machine's cores can run counts as on these."""
    each = " for each class" if any(row.per_class for row in rows) else ""
    known = [row.flops for row in rows if row.flops is not None]
    more = "" if len(known) == len(rows) else "more than "
    parts = [f"{more}{flops(sum(known))}{each}", size(sum(row.bytes for row in rows))]
    for device in [trainer.name for trainer in trainers()]:
        seconds, there = 0.0, set()
        for row in filter(lambda row: row.times, rows):
            on = {time.device: time.seconds for time in row.times}
            runs_on = device if device in on else next(reversed(on))
            seconds += on[runs_on]
            there.add(runs_on)
        if device in there:
            others = "".join(f" and {other}" for other in sorted(there - {device}))
            parts.append(f"{more}{duration(seconds)} on {device}{others}")
    return parts


def _assumed(rows: Sequence[StageEstimate]) -> list[str]:
    """By arithmetic the peaks and the shares of them that the hours above assume."""
    peaks: dict[str, dict[str, str]] = {}
    shares = {trainer.name: trainer.utilization for trainer in trainers()}
    for row in rows:
        for time in row.times:
            if time.peak is not None:
                share = f"{100 * shares[time.device]:.0f} % of {time.peak / 1e12:.3g}"
                peaks.setdefault(time.arithmetic, {})[time.device] = f"{time.device} {share}"
    out = [
        _line("assumed", arithmetic, [*devices.values()]) + " TFLOP/s"
        for arithmetic, devices in sorted(peaks.items())
    ]
    return [*out, _line("no figure", "", [f"{', '.join(WITHOUT)}: {NO_FIGURE}"])]
