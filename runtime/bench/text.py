"""A bench.json, or several, as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

Content = Mapping[str, Any]  # of a bench.json, see runtime.bench.file

COMPUTE = "compute"


def lines(content: Content) -> list[str]:
    """One bench.json, everything in it."""
    out = [
        _host(content["host"]),
        f"{content['mode']} · {content['started']} · {content['command']}",
        "",
    ]
    out += _rows(content["rows"])
    out += [""] + [
        line
        for part in (_speedups, _cold, _breakdown, _sustained, _evidence)
        for line in part(content)
    ]
    out += [f"note: {state}" for state in content["states"]]
    return out


def merged(contents: Sequence[Content]) -> list[str]:
    """The rows of several devices' files in one table, the fastest of the same kind first; nothing
    is averaged.
    """
    cells = [
        (
            "device",
            "model",
            "file",
            "batch",
            "threads",
            "provider",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "img/s",
            "mJ",
            "verdict",
        )
    ]
    rows = [
        (row["includes"], row["batch"], row["p50_ms"] is None, row["p50_ms"] or 0.0, content, row)
        for content in contents
        for row in content["rows"]
    ]
    kind = None
    out: list[tuple[str, ...]] = []
    for includes, batch, _, _, content, row in sorted(rows, key=lambda item: item[:4]):
        if (includes, batch) != kind:
            kind = (includes, batch)
            out.append((f"{includes}, batch {batch}",))
        out.append(_merged_row(content, row))
    return _table(cells + out)


def _merged_row(content: Content, row: Content) -> tuple[str, ...]:
    energy = row.get("energy") or {}
    return (
        _device(content["host"]),
        row["model"],
        row["precision"],
        str(row["batch"]),
        str(row["threads"]),
        row["provider"].removesuffix("ExecutionProvider"),
        *(_number(row[name]) for name in ("p50_ms", "p90_ms", "p99_ms")),
        _number(row.get("images_per_second"), 1),
        _number(energy.get("mj_per_inference")),
        row["verdict"],
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Aligned columns; a row of one cell is a heading."""
    columns = max(map(len, rows))
    widths = [max(len(row[i]) for row in rows if len(row) == columns) for i in range(columns)]
    return [
        row[0]
        if len(row) == 1
        else "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _host(host: Content) -> str:
    isa = ", ".join(host.get("isa") or ()) or "no known ISA"
    facts = [_device(host), f"{host.get('cores_usable')} cores", isa]
    facts += [
        text for text in (host.get("power_mode"), host.get("jetson_linux"), host.get("gpu")) if text
    ]
    return " · ".join(facts)


def _device(host: Content) -> str:
    return str(host.get("device") or host.get("cpu") or host.get("arch") or "unknown device")


def _rows(rows: Iterable[Content]) -> list[str]:
    head = (
        f"{'model':12} {'batch':>5} {'thr':>3} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} "
        f"{'n':>7} {'img/s':>9}"
    )
    out = [f"{head}  includes · verdict"]
    for row in rows:
        name = _contender(row)
        cells = " ".join(f"{_number(row[key]):>9}" for key in ("p50_ms", "p90_ms", "p99_ms"))
        speed = _number(row.get("images_per_second"), 1)
        out.append(
            f"{name:12} {row['batch']:5} {row['threads']:3} {cells} {row['n']:7} {speed:>9}  "
            f"{row['includes']} · {row['verdict']}: {row['reason']}"
        )
        early = row.get("early_stopping_ms") or {}
        if any(value is not None for value in early.values()):
            told = ", ".join(f"{name} {_number(value)} ms" for name, value in early.items())
            out.append(f"{'':12} early stopping: {told}")
        if row.get("device_p50_ms") is not None:
            out.append(
                f"{'':12} {_number(row['device_p50_ms'])} ms on the device alone, by its own events"
            )
        if row.get("energy"):
            cost = row["energy"]
            idle = "" if cost.get("idle_watts") is None else f", idle {cost['idle_watts']:.2f} W"
            told = (
                f"{cost['mj_per_inference']:.3f} mJ per inference at {cost['watts']:.2f} "
                f"W{idle}, idle included"
            )
            out.append(f"{'':12} {told}, {cost['source']}")
    return out


def _speedups(content: Content) -> list[str]:
    out = []
    for name, times in content["speedups"].items():
        fast, _, rest = name.partition("_vs_")
        slow, _, where = rest.partition("@")
        low, high = times["ci95"]
        what = (
            "end to end"
            if where == "end_to_end"
            else ", ".join(filter(None, ["compute only", where]))
        )
        out.append(
            f"{fast} is {times['p50']:.2f}x as fast as {slow} (95 % interval {low:.2f} to "
            f"{high:.2f}), {what}"
        )
    return out


def _cold(content: Content) -> list[str]:
    out = []
    for name, cold in content["cold"].items():
        peak = cold["peak_rss_bytes"]
        memory = "unknown" if peak is None else f"{peak / 2**20:.0f} MiB"
        parts = (
            f"import {cold['import_ms']:.0f} + load {cold['load_ms']:.0f} + first image "
            f"{cold['first_ms']:.1f} ms"
        )
        out.append(
            f"{name} cold process: {parts}, {cold['process_ms']:.0f} ms in all, peak memory "
            f"{memory}"
        )
    return out


def _breakdown(content: Content) -> list[str]:
    out = []
    for name, part in content["breakdown"].items():
        stages = [
            f"{stage} {part[f'{stage}_ms']:.3f}"
            for stage in ("decode", "geometry", "normalise", "compute", "post")
        ]
        over = (
            ""
            if part.get("over_bare") is None
            else f", {part['over_bare']:.2f}x Pillow's decoding and the bare engine"
        )
        out.append(f"{name} predict {part['end_to_end_ms']:.3f} ms{over}: {', '.join(stages)} ms")
    return out


def _sustained(content: Content) -> list[str]:
    windows = content["sustained"]
    if not windows:
        return []
    name = content.get("sustained_of") or "the default model"
    out = [f"{name} without a pause: {'s':>6} {'p50 ms':>9} {'MHz':>7} {'°C':>6} {'W':>7}"]
    step = max(1, len(windows) // 10)
    for window in [*windows[:-1:step], windows[-1]]:
        cells = (_number(window[key], 1) for key in ("clock_mhz", "temperature_c", "watts"))
        out.append(
            f"  {window['t_s']:8.0f} {window['p50_ms']:9.3f} "
            + " ".join(f"{cell:>7}" for cell in cells)
        )
    tenth = max(1, len(windows) // 10)
    first, last = (
        median(window["p50_ms"] for window in part) for part in (windows[:tenth], windows[-tenth:])
    )
    if first:
        out.append(
            f"  an inference of the last tenth took {last / first - 1:+.1%} longer than one "
            "of the first"
        )
    return out


def _evidence(content: Content) -> list[str]:
    out = []
    for name, kernels in content["kernels"].items():
        row = next((row for row in content["rows"] if _contender(row) == name), None)
        nodes = (row or {}).get("nodes") or {}
        where = ", ".join(f"{count} nodes on {provider}" for provider, count in nodes.items())
        told = (
            ", ".join(f"{count} {kernel}" for kernel, count in kernels.items()) or "kernels unknown"
        )
        grown = (row or {}).get("resident_bytes")
        if grown is not None:
            out.append(
                f"{name} loaded and run once makes this process grow by {grown / 2**20:.0f} MiB"
            )
        out.append(f"{name} ran {where + ': ' if where else ''}{told}")
    return out


def _contender(row: Content) -> str:
    return "teacher" if row["model"] == "teacher" else str(row["precision"])


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
