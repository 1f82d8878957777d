"""What ``compress estimate`` prints: a row per precision, then the blocks of one of them and what
limits each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.budgets.devices import Device
from compress.budgets.roofline import UNCALIBRATED, Estimate

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_BLOCKS = 24


@dataclass(frozen=True)
class Block:
    """The kernels of one part of the network, in the estimate's milliseconds."""

    name: str
    kernels: int
    macs: int
    bytes: float
    ms: float
    bound: str
    precisions: tuple[str, ...]


def blocks(told: Estimate) -> list[Block]:
    """An estimate by part of the network, in the network's order; ``bound`` is what limits most of
    its time.
    """
    order: dict[str, list] = {}
    for row in told.rows:
        order.setdefault(row.kernel.block, []).append(row)
    out = []
    for name, rows in order.items():
        limits = {
            bound: sum(r.seconds for r in rows if r.bound == bound)
            for bound in {r.bound for r in rows}
        }
        kernels, ms = (
            [row.kernel for row in rows],
            1e3 * told.factor * sum(row.seconds for row in rows),
        )
        moved = sum(k.weight_bytes + k.read_bytes + k.write_bytes for k in kernels)
        floats = told.device.computes(told.precision)
        computed = tuple(
            sorted({k.precision if k.precision == "int8" else floats for k in kernels})
        )
        bound = max(limits, key=lambda name, limits=limits: limits[name])  # type: ignore[misc]
        out.append(Block(name, len(rows), sum(k.macs for k in kernels), moved, ms, bound, computed))
    return out


def head(where: Device, found: Mapping[str, Estimate]) -> list[str]:
    """What the numbers are and are not."""
    first = next(iter(found.values()))
    lines = [f"ESTIMATE for {where.name}: {where.title}, {where.mode}."]
    if first.calibration is None:
        lines.append(
            f"Nothing was measured there. {UNCALIBRATED[0].upper()}{UNCALIBRATED[1:]}; "
            "--calibrate corrects it."
        )
    else:
        told = first.calibration
        threads = ", ".join(sorted({f"{row['threads']} threads" for row in told.get("rows", [])}))
        board = told["host"] or "a board without a name"
        lines.append(
            f"Scaled by what {told['bench']} measured on {board}, {threads}, {told['started']}."
        )
    lines += [f"{note[0].upper()}{note[1:]}." for note in where.notes]
    unpriced = sorted({name for estimate in found.values() for name in estimate.costs.unpriced})
    if unpriced:
        lines.append(
            f"Nodes without a price of their own, counted as elementwise: {', '.join(unpriced)}."
        )
    return lines


def summary(found: Mapping[str, Estimate]) -> RenderableType:
    """A row per precision."""
    table = _table(
        "precision",
        "p50, ms",
        "compute",
        "bytes",
        "launches",
        "fixed",
        "energy, mJ",
        "RAM",
        "weights",
        "GMACs",
    )
    for name, told in found.items():
        energy = "-" if told.energy_mj is None else f"≤ {told.energy_mj:.3g}"
        shares = [
            f"{100 * told.bound[key]:.0f} %" for key in ("compute", "memory", "overhead", "fixed")
        ]
        table.add_row(
            name,
            f"~{told.p50_ms:.3g}",
            *shares,
            energy,
            _size(told.memory_bytes),
            _size(told.weight_bytes),
            f"{told.costs.macs / 1e9:.3g}",
        )
    return table


def breakdown(told: Estimate) -> RenderableType:
    """A row per block of the network; the smaller ones together where there are many."""
    rows = blocks(told)
    total = sum(row.ms for row in rows) or 1.0
    shown = {id(row) for row in sorted(rows, key=lambda row: -row.ms)[:SHOWN_BLOCKS]}
    table = _table(
        f"block ({told.precision})",
        "ms",
        "share",
        "bound by",
        "kernels",
        "MMACs",
        "bytes",
        "computed in",
    )
    for row in rows:
        if id(row) in shown:
            table.add_row(
                row.name,
                f"~{row.ms:.3g}",
                f"{100 * row.ms / total:.0f} %",
                row.bound,
                str(row.kernels),
                f"{row.macs / 1e6:.3g}",
                _size(row.bytes),
                ", ".join(row.precisions),
            )
    rest = [row for row in rows if id(row) not in shown]
    if rest:
        ms, macs = sum(row.ms for row in rest), sum(row.macs for row in rest)
        kernels, moved = sum(row.kernels for row in rest), sum(row.bytes for row in rest)
        table.add_row(
            f"{len(rest)} smaller blocks",
            f"~{ms:.3g}",
            f"{100 * ms / total:.0f} %",
            "",
            str(kernels),
            f"{macs / 1e6:.3g}",
            _size(moved),
            "",
        )
    return table


def _table(*columns: str):  # type: ignore[no-untyped-def]  # rich is imported when something is printed
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(
            column,
            justify="left" if index == 0 or column in ("bound by", "computed in") else "right",
        )
    return table


def _size(count: float) -> str:
    return f"{count / 1e6:.3g} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"
