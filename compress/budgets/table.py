"""``compress estimate``: a row per precision, then the blocks of one precision and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.budgets.devices import DeviceProfile
from compress.budgets.grammar import show
from compress.budgets.roofline import UNCALIBRATED, Estimate, KernelTime
from runtime.errors import harmless

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_BLOCKS = 24
LEFT = ("bound by", "computed in")  # columns of text


@dataclass(frozen=True)
class BlockEstimate:
    """The kernels of one part of the network; ``bound`` is what limits most of its time."""

    name: str
    kernels: int
    macs: int
    bytes: float
    ms: float
    bound: str
    precisions: tuple[str, ...]


def blocks(estimate: Estimate) -> list[BlockEstimate]:
    """An estimate by part of the network, in the network's order."""
    parts: dict[str, list[KernelTime]] = {}
    for row in estimate.rows:
        parts.setdefault(row.kernel.block, []).append(row)
    floats = estimate.device.computes(estimate.precision)
    out = []
    for name, rows in parts.items():
        seconds: dict[str, float] = {}
        for row in rows:
            seconds[row.bound] = seconds.get(row.bound, 0.0) + row.seconds
        kernels = [row.kernel for row in rows]
        macs = sum(k.macs for k in kernels)
        moved = sum(k.weight_bytes + k.read_bytes + k.write_bytes for k in kernels)
        ms = 1e3 * estimate.factor * sum(row.seconds for row in rows)
        bound = max(seconds, key=seconds.__getitem__)
        computed = {"int8" if k.precision == "int8" else floats for k in kernels}
        precisions = tuple(sorted(computed))
        out.append(BlockEstimate(name, len(rows), macs, moved, ms, bound, precisions))
    return out


def head(device: DeviceProfile, estimates: Mapping[str, Estimate]) -> list[str]:
    """What the numbers rest on."""
    source = next(iter(estimates.values())).calibration
    lines = [f"ESTIMATE for {device.name}: {device.title}, {device.mode}."]
    if source is None:
        caveat = f"{UNCALIBRATED[0].upper()}{UNCALIBRATED[1:]}"
        lines.append(f"Nothing was measured there. {caveat}; --calibrate corrects it.")
    else:
        threads = ", ".join(sorted({f"{row['threads']} threads" for row in source.get("rows", [])}))
        board = source["host"] or "a board without a name"
        where = f"{board}, {threads}, {source['started']}"
        lines.append(f"Scaled by what {source['bench']} measured on {where}.")
    lines += [f"{note[0].upper()}{note[1:]}." for note in device.notes]
    unpriced = sorted({name for estimate in estimates.values() for name in estimate.costs.unpriced})
    if unpriced:
        what = "Nodes without a price of their own, counted as elementwise"
        lines.append(f"{what}: {', '.join(unpriced)}.")
    return lines


def summary(estimates: Mapping[str, Estimate]) -> Table:
    """A row per precision."""
    bounds = ("compute", "memory", "overhead", "fixed")
    table = _table("precision|p50, ms|compute|bytes|launches|fixed|energy, mJ|RAM|weights|GMACs")
    for name, estimate in estimates.items():
        table.add_row(
            name,
            f"~{estimate.p50_ms:.3g}",
            *(f"{100 * estimate.bound[key]:.0f} %" for key in bounds),
            "-" if estimate.energy_mj is None else f"≤ {estimate.energy_mj:.3g}",
            show(estimate.memory_bytes, "bytes"),
            show(estimate.weight_bytes, "bytes"),
            f"{estimate.costs.macs / 1e9:.3g}",
        )
    return table


def breakdown(estimate: Estimate) -> Table:
    """A row per block of the network; the smaller ones together where there are many."""
    rows = blocks(estimate)
    total = sum(row.ms for row in rows) or 1.0
    largest = {row.name for row in sorted(rows, key=lambda row: -row.ms)[:SHOWN_BLOCKS]}
    shown = [row for row in rows if row.name in largest]
    rest = [row for row in rows if row.name not in largest]
    if rest:
        kernels = sum(row.kernels for row in rest)
        macs = sum(row.macs for row in rest)
        moved = sum(row.bytes for row in rest)
        ms = sum(row.ms for row in rest)
        name = f"{len(rest)} smaller blocks"
        shown.append(BlockEstimate(name, kernels, macs, moved, ms, "", ()))
    from rich.markup import escape

    columns = "ms|share|bound by|kernels|MMACs|bytes|computed in"
    table = _table(f"block ({estimate.precision})|{columns}")
    for row in shown:
        table.add_row(
            escape(harmless(row.name)),
            f"~{row.ms:.3g}",
            f"{100 * row.ms / total:.0f} %",
            row.bound,
            str(row.kernels),
            f"{row.macs / 1e6:.3g}",
            show(row.bytes, "bytes"),
            ", ".join(row.precisions),
        )
    return table


def _table(columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns.split("|")):
        table.add_column(column, justify="left" if index == 0 or column in LEFT else "right")
    return table
