"""The parts of report.json about speed on devices: what ``runtime.bench`` measures, as a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.report.model.part import OPEN, Interval, Milliseconds, Part
from runtime.bench.latency import LatencyRow
from runtime.bench.report import BenchReport


class ReportSpeedup(Part):
    """Ratio of p50 latencies, teacher over shipped student; null if one was not measured."""

    p50: Milliseconds | None
    ci95: Interval | None


@dataclass(config=OPEN, frozen=True, kw_only=True)
class ReportDevice(BenchReport):
    """What ``compress bench`` measured on one device (bench.json, shortened)."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    kind: Literal["clip2edge-bench"]
    rows: Annotated[list[LatencyRow], Field(min_length=1)]
