"""The section "Devices": ``compress bench`` on other devices beside the machine of the build.

Only equal work is compared: the same number of threads, the same definition. An estimate never
enters a table of measurements: it has its own kind of mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from compress.evaluate.gates import allowed_drop
from compress.report.charts import devices as plots
from compress.report.charts.devices import Bar, Course, Mark
from compress.report.charts.svg import both_widths
from compress.report.model.report import Report, student_variant, variant_of
from compress.report.wording import (
    ABSENT,
    VARIANTS,
    milliseconds,
    plural,
    points,
    significant,
    times,
    variant,
)
from runtime.backends import BACKENDS, Backend
from runtime.bench.latency import COMPUTE, LatencyRow, Ratio
from runtime.bench.sustained import Window
from runtime.host.telemetry import Host


@dataclass(frozen=True)
class Machine:
    """A device with its measurements; ``occasion`` is the run, or the build."""

    name: str
    host: Host
    rows: list[LatencyRow]
    speedups: Mapping[str, Ratio]
    kernels: Mapping[str, Mapping[str, int]]
    occasion: str
    states: list[str] = field(default_factory=list)
    sustained: list[Window] | None = None
    threads: int | None = None  # that all machines of a report were timed on

    def compute_rows(self) -> list[LatencyRow]:
        """One row per model variant, backend and provider: one image.

        On the number of threads that all machines have in common, otherwise on the fewest.
        """
        best: dict[tuple[str, ...], LatencyRow] = {}
        for row in _computed(self.rows):
            best[_kind(row)] = min(best.get(_kind(row), row), row, key=self._rank)
        order = list(VARIANTS)
        return sorted(best.values(), key=lambda row: order.index(color(variant_of(row))))

    def end_to_end_ms(self, row: LatencyRow) -> float | None:
        """The end-to-end p50 of the same model and engine, on the nearest number of threads."""
        wholes = [other for other in self.rows if other.includes != COMPUTE]
        alike = [other for other in wholes if _kind(other) == _kind(row)]
        whole = min(alike, key=lambda other: abs(other.threads - row.threads), default=None)
        return whole.p50_ms if whole else None

    def _rank(self, row: LatencyRow) -> tuple[bool, int]:
        return row.threads != self.threads, row.threads

    def images(self) -> list[str]:
        """What the end-to-end rows decode."""
        return list(dict.fromkeys(row.image for row in self.rows if row.image))

    def over_teacher(self, row: LatencyRow) -> str:
        """How many times faster than the teacher a row's model is."""
        ratio = self.speedup(variant_of(row), "teacher")
        return "1×" if row.model == "teacher" else times(ratio.p50 if ratio else None)

    def speedup(self, fast: str, slow: str) -> Ratio | None:
        """The ratio of two model variants that were measured in one run."""
        short = f"{fast.removeprefix('student_')}_vs_{slow.removeprefix('student_')}"
        names, ratios = (f"{fast}_vs_{slow}", short), self.speedups.items()
        return next((ratio for key, ratio in ratios if key.replace(".", "_") in names), None)


@dataclass(frozen=True)
class DeviceVerdict:
    """Which file a device should run, and the figures behind it, formatted."""

    device: str
    ships: str
    rival: str
    ratio: str
    ci95: str
    limit: str
    points: str
    kernels: str
    valid: bool


def machines(report: Report) -> list[Machine]:
    """The machine of the build, then every merged device."""
    kernels = {"int8": report.quantization.kernels.ran}
    host, rows, speedups = report.environment, report.latency, report.speedups
    equal = common_threads(report)
    own = Machine(device_name(host), host, rows, speedups, kernels, "where it was built")
    out = [replace(own, threads=equal)]
    names = [out[0].name, *(device_name(device.host) for device in report.devices)]
    for device in report.devices:
        name, when = device_name(device.host), device.started[:16].replace("T", " ")
        if names.count(name) > 1:
            name += f" · {device.rows[0].backend}, {when}"
        measured = (device.host, device.rows, device.speedups, device.kernels)
        occasion = f"mode {device.mode}, {when}"
        out.append(Machine(name, *measured, occasion, device.states, device.sustained, equal))
    return out


def common_threads(report: Report) -> int | None:
    """The fewest threads on which every machine of a report was timed; None: there are none."""
    groups = [report.latency, *(device.rows for device in report.devices)]
    timed = [{row.threads for row in _computed(rows)} for rows in groups]
    return min(set.intersection(*timed), default=None)


def unequal(report: Report) -> list[str]:
    """Why figures of different machines may not be held against each other, a sentence each."""
    found = machines(report)
    lines = []
    if common_threads(report) is None:
        counts = [
            f"{one.name}: {', '.join(map(str, sorted({r.threads for r in _computed(one.rows)})))}"
            for one in found
        ]
        lines.append(
            f"The machines were timed on different numbers of threads ({'; '.join(counts)}), so "
            "their times are not compared. compress bench --threads N measures any number."
        )
    images = {one.name: one.images() for one in found if one.images()}
    if len({tuple(names) for names in images.values()}) > 1:
        shown = "; ".join(f"{name}: {', '.join(each)}" for name, each in images.items())
        lines.append(
            f"End to end is not compared either: it decodes different images ({shown}). "
            "compress bench --images FILE measures the same one everywhere."
        )
    return lines


def _computed(rows: Iterable[LatencyRow]) -> list[LatencyRow]:
    """Single images, the engine alone."""
    return [row for row in rows if row.includes == COMPUTE and row.batch == 1]


def device_count(report: Report) -> str:
    """The number of devices, and of runs if there are more; empty for the build alone."""
    if not report.devices:
        return ""
    hosts: list[Host] = [report.environment, *(device.host for device in report.devices)]
    devices = plural(len({device_name(host) for host in hosts}), "device")
    runs = len(hosts)
    return devices if devices == plural(runs, "device") else f"{runs} runs, {devices}"


def device_name(host: Host) -> str:
    """The board, else the processor, with its power mode."""
    name = host.device or host.gpu or host.cpu or host.arch or "unnamed device"
    return f"{name}, {host.power_mode}" if host.power_mode else name


def _kind(row: LatencyRow) -> tuple[str, ...]:
    return variant_of(row), row.backend, row.provider


def color(name: str) -> str:
    """The variant whose color a variant wears: "student_int8_batch1" -> "student_int8"."""
    known = [known for known in VARIANTS if name == known or name.startswith(f"{known}_")]
    return max(known, key=len, default="student_fp32")


def engine(row: LatencyRow) -> str:
    """The engine of a row: "onnxruntime CPU"."""
    provider = row.provider.removesuffix("ExecutionProvider")
    return row.backend if provider.lower() in ("", row.backend) else f"{row.backend} {provider}"


def place(row: LatencyRow) -> str:
    """Where a row ran: "onnxruntime CPU, 1 thread"."""
    return f"{engine(row)}, {plural(row.threads, 'thread')}"


def conditions(machine: Machine) -> str:
    """The conditions of a device's figures."""
    host, row = machine.host, machine.rows[0] if machine.rows else None
    clocks = [mhz for mhz in row.clock_mhz if mhz] if row else []
    heat = [celsius for celsius in row.temperature_c if celsius] if row else []
    versions = {name: value for row in machine.rows for name, value in row.versions.items()}
    parts = [
        host.cpu if host.device else None,
        f"{host.cores_usable} cores" if host.cores_usable else None,
        f"{clocks[-1]:,.0f} MHz" if clocks else None,
        f"{heat[-1]:.0f} °C" if heat else None,
        f"governor {host.governor}" if host.governor else None,
        ", ".join(f"{name} {value}" for name, value in versions.items()),
        machine.occasion,
    ]
    return " · ".join(part for part in parts if part)


def marks(report: Report) -> dict[str, list[Mark]]:
    """Device -> its marks: measurements, then estimates for devices without any."""
    groups: dict[str, list[Mark]] = {}
    for machine in machines(report):
        rows = [row for row in machine.compute_rows() if row.p50_ms]
        several = len({engine(row) for row in rows}) > 1
        drawn = []
        for row in rows:
            name = variant_of(row)
            label = f"{variant(name)} · {engine(row)}" if several else variant(name)
            stamp = None if row.verdict == "VALID" else row.verdict
            drawn.append(Mark(label, color(name), row.p50_ms or 0.0, row.p99_ms, stamp))
        groups |= {machine.name: drawn} if drawn else {}
    for limit in report.budgets:
        if limit.basis == "estimate" and limit.unit == "ms" and limit.value and limit.device:
            name = student_variant(limit.precision) if limit.precision else report.shipped
            mark = Mark(variant(name), color(report.shipped), limit.value, estimate=True)
            groups.setdefault(f"{limit.device} (estimate)", []).append(mark)
    return groups


def device_plots(report: Report) -> list[tuple[str, str]]:
    """Every device's marks, for wide and narrow pages."""
    groups = marks(report)
    return both_widths(lambda width: plots.devices(groups, width))


def has_estimates(report: Report) -> bool:
    """Whether a mark is an estimate."""
    return any(mark.estimate for group in marks(report).values() for mark in group)


def device_sentence(report: Report) -> str:
    """The time of the fastest student on the fastest and on the slowest device."""
    equal = common_threads(report)
    if not report.devices or equal is None:
        return ""
    best = []
    for machine in machines(report):
        rows = [row for row in machine.compute_rows() if row.threads == equal]
        rows = [row for row in rows if variant_of(row) != "teacher"]
        timed = [(row.p50_ms, machine.name, variant(variant_of(row))) for row in rows if row.p50_ms]
        best += [min(timed)] if timed else []
    if len(best) < 2:
        return ""
    ends = min(best), max(best)
    least, most = (f"{milliseconds(p50)} on {name}" for p50, name, _ in ends)
    files = " and ".join(dict.fromkeys(file for _, _, file in ends))
    return (
        f"With its fastest file, one image takes from {least} to {most} ({files}), "
        f"on {plural(equal, 'thread')} each."
    )


def device_verdicts(report: Report) -> list[DeviceVerdict]:
    """int8 against float on each device: time, kernels, and the accuracy measured at the build."""
    if not report.devices:
        return []
    out = []
    for machine in machines(report):
        for name, backend in BACKENDS.items():
            rows = {variant_of(row): row for row in machine.compute_rows() if row.backend == name}
            int8, rival = (
                rows.get(student_variant(f"{precision}.{name}"))  # its own file
                or rows.get(student_variant(backend.model(precision)))
                for precision in ("int8", backend.rival)
            )
            if int8 and rival:
                out.append(_verdict(report, machine, backend, int8, rival))
    return out


def _verdict(
    report: Report, machine: Machine, backend: Backend, int8: LatencyRow, rival: LatencyRow
) -> DeviceVerdict:
    speedup, accuracy = machine.speedup(variant_of(int8), variant_of(rival)), report.accuracy
    ratio, interval = (speedup.p50, speedup.ci95) if speedup else (None, None)
    if ratio is None and int8.p50_ms and rival.p50_ms:
        ratio = rival.p50_ms / int8.p50_ms  # of two medians: no interval
    ran = machine.kernels.get(int8.precision) or {}
    before, after = accuracy.get("student_fp32"), accuracy.get(variant_of(int8))
    gained = after.top1 - before.top1 if after and before else None
    kept = gained is None or not before or 100 * gained >= -allowed_drop(before.n) - 1e-9
    highest = interval[1] if interval else ratio or 0.0
    pays = kept and backend.is_quantized(ran) and highest >= backend.min_speedup
    fast, plain = (variant(variant_of(row)).removeprefix("student ") for row in (int8, rival))
    integer = sum(count for name, count in ran.items() if name in backend.integer_kernels)
    return DeviceVerdict(
        device=machine.name,
        ships=fast if pays else plain,
        rival=plain,
        ratio=times(ratio),
        ci95="–".join(map(significant, interval)) if interval else ABSENT,
        limit=times(backend.min_speedup),
        points=points(gained),
        kernels=f"{integer} of {sum(ran.values())}" if ran else ABSENT,
        valid=int8.verdict == rival.verdict == "VALID",
    )


def energy_plot(report: Report) -> str:
    """Measured energy per device and model variant as bars; empty without a reading."""
    bars = []
    for machine in machines(report):
        for row in machine.compute_rows():
            if cost := row.energy:
                name = variant_of(row)
                bar = Bar(machine.name, variant(name), color(name), cost.mj_per_inference)
                bars.append(bar)
    return plots.energy(bars) if bars else ""


def energy_sources(report: Report) -> str:
    """The sensors behind the energies."""
    rows = [row for machine in machines(report) for row in machine.compute_rows()]
    return ", ".join(sorted({row.energy.source for row in rows if row.energy}))


def sustained_plot(report: Report) -> str:
    """Latency over minutes of devices with two windows or more; empty without a sustained run."""
    courses = [
        Course(machine.name, [(window.t_s, window.p50_ms) for window in machine.sustained])
        for machine in machines(report)
        if machine.sustained and len(machine.sustained) > 1
    ]
    return plots.sustained(courses) if courses else ""


def device_states(report: Report) -> list[str]:
    """What could not be measured on the merged devices, in their own words."""
    return [f"{machine.name}: {line}" for machine in machines(report) for line in machine.states]
