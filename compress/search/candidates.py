"""A candidate of the search: a student at a resolution, its costs, and the limits it breaks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from compress.budgets.costs import Costs
from compress.budgets.devices import device
from compress.budgets.grammar import Limit, show
from compress.budgets.variants import HOST, PRECISIONS
from compress.engine.config import Settings
from compress.engine.store import Artifact

Row = Mapping[str, Any]  # a JSON object: an estimate, a measurement, a row of the report
#: metric -> key of an estimate's row
ESTIMATED = {"p50": "p50_ms", "energy": "energy_mj", "memory": "memory_bytes"}


class BrokenLimit(NamedTuple):
    """A limit that a candidate breaks, by a value that is "measured" or an "estimate"."""

    limit: Limit
    value: float
    basis: str


@dataclass(frozen=True)
class RungScore:
    """A candidate after one rung of training: how often it gives the teacher's class."""

    steps: int
    images: str  # what the held-out images are
    agreement: float
    standard_error: float
    held_out_images: int


@dataclass(eq=False)
class Candidate:
    """A student at a resolution."""

    student: str
    size: int
    settings: Settings  # the run's, with this student
    sketch: Artifact | None = None  # its untrained files; None where it was refused before
    costs: dict[str, Costs] = field(default_factory=dict)  # by model key
    estimated: dict[str, Mapping[str, Row]] = field(default_factory=dict)  # device -> precision
    measured: Mapping[str, Row] = field(default_factory=dict)  # by precision, on this machine
    status: str = "pruned"  # or "trained", "chosen"
    why: str = ""
    fitting: tuple[str, ...] = ()  # precisions that break no known limit
    reasons: dict[str, str] = field(default_factory=dict)  # precision -> the limits it breaks
    rungs: list[RungScore] = field(default_factory=list)
    trained: Artifact | None = None  # the distill stage of the last rung
    top1: float | None = None  # of that stage on the test split, taken after the choice

    @property
    def name(self) -> str:
        return f"{self.student} at {self.size} px"

    @property
    def macs(self) -> int:
        return self.costs["fp32"].macs if "fp32" in self.costs else 0

    @property
    def agreement(self) -> float:
        return self.rungs[-1].agreement

    def precisions(self, devices: Sequence[str]) -> tuple[str, ...]:
        """Precisions that this student can have and every device of the budget computes in."""
        if self.sketch is None:
            return ()
        offered = set(PRECISIONS).difference(self.sketch.facts["refused"])
        offered = offered.intersection(*(device(name).precisions for name in devices))
        return tuple(precision for precision in PRECISIONS if precision in offered)

    def file_bytes(self, precision: str) -> float | None:
        """Size of its file; half of the float file where there is none of this precision."""
        if self.sketch is None:
            return None
        sizes = self.sketch.facts["bytes"]
        return float(sizes[precision]) if precision in sizes else sizes["fp32"] / 2

    def latency(self, precision: str, devices: Sequence[str]) -> float:
        """p50 in ms on the budget's first device: measured on this machine, else estimated."""
        rows = self.measured if devices[0] == HOST else self.estimated.get(devices[0], {})
        p50 = rows.get(precision, {}).get("p50_ms")
        return math.inf if p50 is None else float(p50)

    def cost(self, devices: Sequence[str]) -> float:
        """p50 in ms on the budget's first device, of the fastest precision that fits."""
        return min((self.latency(p, devices) for p in self.fitting), default=math.inf)

    def estimate(self, precision: str, devices: Sequence[str]) -> Row | None:
        """The estimate on the first device that is not this machine."""
        foreign = next((name for name in devices if name != HOST), None)
        return self.estimated.get(str(foreign), {}).get(precision)

    def value(self, limit: Limit, precision: str) -> tuple[float | None, str]:
        """A limit's metric as far as it is known before training, "measured" or "estimate"."""
        if limit.metric == "size":
            return self.file_bytes(precision), "estimate" if precision == "fp16" else "measured"
        if limit.device == HOST:
            return self.measured.get(precision, {}).get(f"{limit.metric}_ms"), "measured"
        row = self.estimated.get(str(limit.device), {}).get(precision, {})
        if limit.metric in ("p90", "p99"):  # never below the median
            median = row.get("p50_ms")
            return (median if median is not None and not limit.holds(median) else None), "estimate"
        return row.get(ESTIMATED.get(limit.metric, "")), "estimate"

    def broken(self, limits: Iterable[Limit], precision: str) -> list[BrokenLimit]:
        """Limits that are known to be broken."""
        values = [(limit, *self.value(limit, precision)) for limit in limits]
        known = [(limit, value, basis) for limit, value, basis in values if value is not None]
        return [BrokenLimit(*one) for one in known if not one[0].holds(one[1])]


def nearest_miss(
    candidates: Iterable[Candidate], limits: Sequence[Limit], devices: Sequence[str]
) -> tuple[Candidate, str, list[BrokenLimit]] | None:
    """The candidate and precision whose worst excess over a limit is least, and what it breaks."""

    def worst(miss: tuple[Candidate, str, list[BrokenLimit]]) -> float:
        return max(limit.excess(value) for limit, value, _ in miss[2])

    misses = (
        (candidate, precision, broken)
        for candidate in candidates
        for precision in candidate.precisions(devices)
        if (broken := candidate.broken(limits, precision))
    )
    return min(misses, key=worst, default=None)


def in_words(broken: Iterable[BrokenLimit]) -> str:
    """``p50<=1ms@pi5: 2.3 ms (estimate)`` of each broken limit."""
    return "; ".join(
        f"{limit.text}: {show(value, limit.unit)}{'' if basis == 'measured' else ' (estimate)'}"
        for limit, value, basis in broken
    )
