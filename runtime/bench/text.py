"""A bench, or several devices' benches, as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from runtime.bench.latency import LatencyRow
from runtime.bench.report import BenchReport, entry_of
from runtime.bench.sustained import slowdown
from runtime.bench.verdicts import verdicts
from runtime.host.telemetry import Host

COLUMNS = "device,model,file,batch,threads,provider,p50 ms,p90 ms,p99 ms,img/s,mJ,verdict"


def lines(report: BenchReport) -> list[str]:
    """One bench, everything in it."""
    parts = (_speedups, _cold, _breakdown, _sustained, _kernels)
    return [
        _host(report.host),
        f"{report.mode} · {report.started} · {report.command}",
        "",
        *_rows(report.rows),
        "",
        *(line for part in parts for line in part(report)),
        *(f"verdict: {sentence}" for sentence in verdicts(report)),
        *(f"note: {state}" for state in report.states),
    ]


def merged(reports: Iterable[BenchReport]) -> list[str]:
    """The rows of several devices in one table, the fastest of a kind first; no averages."""

    def kind(pair: tuple[LatencyRow, str]) -> tuple[str, int]:
        return pair[0].includes, pair[0].batch

    rows = [(row, _device(report.host)) for report in reports for row in report.rows]
    rows.sort(key=lambda pair: (*kind(pair), pair[0].p50_ms is None, pair[0].p50_ms or 0.0))
    table = [tuple(COLUMNS.split(","))]
    for (includes, batch), pairs in groupby(rows, kind):
        table.append((f"{includes}, batch {batch}",))
        table += [_merged_row(row, device) for row, device in pairs]
    return _aligned(table)


def _merged_row(row: LatencyRow, device: str) -> tuple[str, ...]:
    provider = row.provider.removesuffix("ExecutionProvider")
    what = (device, row.model, row.precision, str(row.batch), str(row.threads), provider)
    speed = _number(row.images_per_second, 1)
    energy = _number(row.energy.mj_per_inference if row.energy else None)
    return (*what, *map(_number, (row.p50_ms, row.p90_ms, row.p99_ms)), speed, energy, row.verdict)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Aligned columns; a row of one cell is a heading."""
    widths = [max(map(len, cells)) for cells in zip(*(row for row in rows if row[1:]), strict=True)]
    padded = [row if len(row) == 1 else map(str.ljust, row, widths) for row in rows]
    return ["  ".join(cells).rstrip() for cells in padded]


def _host(host: Host) -> str:
    isa = ", ".join(host.isa) or "no known ISA"
    facts = [_device(host), f"{host.cores_usable} cores", isa]
    return " · ".join([*facts, *filter(None, (host.power_mode, host.jetson_linux, host.gpu))])


def _device(host: Host) -> str:
    return host.device or host.cpu or host.arch or "unknown device"


def _rows(rows: Iterable[LatencyRow]) -> list[str]:
    rows = list(rows)
    width = max([12, *(len(entry_of(row)) for row in rows)])
    times = " ".join(f"{name:>9}" for name in ("p50 ms", "p90 ms", "p99 ms"))
    head = f"{'model':{width}} {'batch':>5} {'thr':>3} {times} {'n':>7}"
    out = [f"{head} {'img/s':>9}  includes · verdict"]
    indent = " " * width
    for row in rows:
        cells = " ".join(f"{_number(value):>9}" for value in (row.p50_ms, row.p90_ms, row.p99_ms))
        speed = _number(row.images_per_second, 1)
        out.append(
            f"{entry_of(row):{width}} {row.batch:5} {row.threads:3} {cells} {row.n:7} {speed:>9}  "
            f"{row.includes} · {row.verdict}: {row.reason}"
        )
        early = row.early_stopping_ms or {}
        if any(value is not None for value in early.values()):
            words = ", ".join(f"{name} {_number(value)} ms" for name, value in early.items())
            out.append(f"{indent} early stopping: {words}")
        if row.device_p50_ms is not None:
            device_p50_ms = _number(row.device_p50_ms)
            out.append(f"{indent} {device_p50_ms} ms on the device alone, by its own events")
        if cost := row.energy:
            idle = "" if cost.idle_watts is None else f", idle {cost.idle_watts:.2f} W"
            spent = f"{cost.mj_per_inference:.3f} mJ per inference at {cost.watts:.2f} W"
            out.append(f"{indent} {spent}{idle}, idle included, {cost.source}")
    return out


def _speedups(report: BenchReport) -> list[str]:
    out = []
    for name, times in report.speedups.items():
        fast, _, rest = name.partition("_vs_")
        slow, _, where = rest.partition("@")
        kind = ", ".join(filter(None, ["compute only", where]))
        spread = "95 % interval {:.2f} to {:.2f}".format(*times.ci95)
        kind = "end to end" if where == "end_to_end" else kind
        out.append(f"{fast} is {times.p50:.2f}x as fast as {slow} ({spread}), {kind}")
    return out


def _cold(report: BenchReport) -> list[str]:
    return [
        f"{name} cold process: import {cold.import_ms:.0f} + load {cold.load_ms:.0f} + first "
        f"image {cold.first_ms:.1f} ms, later ones {_number(cold.warm_ms, 1)} ms; "
        f"{_number(cold.process_ms, 0)} ms in all, peak memory "
        f"{'unknown' if cold.peak_rss_bytes is None else f'{cold.peak_rss_bytes / 2**20:.0f} MiB'}"
        for name, cold in report.cold.items()
    ]


def _breakdown(report: BenchReport) -> list[str]:
    return [
        f"{name} predict {part.end_to_end_ms:.3f} ms, {_number(part.over_bare, 2)}x Pillow's "
        "decoding and the bare engine: "
        + ", ".join(f"{stage} {value:.3f}" for stage, value in part.stages_ms.items())
        + " ms"
        for name, part in report.breakdown.items()
    ]


def _sustained(report: BenchReport) -> list[str]:
    windows = report.sustained
    if not windows:
        return []
    name = report.sustained_of or "the default model"
    out = [f"{name} without a pause: {'s':>6} {'p50 ms':>9} {'MHz':>7} {'°C':>6} {'W':>7}"]
    for window in [*windows[: -1 : max(1, len(windows) // 10)], windows[-1]]:
        values = (window.clock_mhz, window.temperature_c, window.watts)
        cells = " ".join(f"{_number(value, 1):>7}" for value in values)
        out.append(f"  {window.t_s:8.0f} {window.p50_ms:9.3f} {cells}")
    longer = f"{slowdown(windows):+.1%} longer than one of the first"
    return [*out, f"  an inference of the last tenth took {longer}"]


def _kernels(report: BenchReport) -> list[str]:
    out = []
    for name, kernels in report.kernels.items():
        row = next((row for row in report.rows if entry_of(row) == name), None)
        nodes = (row.nodes if row else None) or {}
        where = ", ".join(f"{count} nodes on {provider}" for provider, count in nodes.items())
        ran = ", ".join(f"{count} {kernel}" for kernel, count in kernels.items())
        if row and row.resident_bytes is not None:
            grown = f"{row.resident_bytes / 2**20:.0f} MiB"
            out.append(f"{name} loaded and run once makes this process grow by {grown}")
        out.append(f"{name} ran {where + ': ' if where else ''}{ran or 'kernels unknown'}")
    return out


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
