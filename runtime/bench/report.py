"""What a bench measured: the content of bench.json, typed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.bench import mlperf
from runtime.bench.breakdown import Breakdown
from runtime.bench.cold import Cold
from runtime.bench.latency import SHA256, LatencyRow, Ratio
from runtime.bench.sustained import Window
from runtime.host.telemetry import Host

SCHEMA, KIND = 1, "clip2edge-bench"
MAX_TEXT = 4096
# a terminal would obey these characters, or hide text behind them
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class BundleFacts:
    """Which bundle was measured."""

    name: str
    manifest_sha256: str = field(metadata=SHA256)
    default: str


@dataclass(frozen=True)
class TeacherFacts:
    """Which teacher was measured: a bundle's manifest and default model, or a file's hash."""

    name: str
    manifest_sha256: str | None = field(default=None, metadata=SHA256)
    default: str | None = None
    file_sha256: str | None = field(default=None, metadata=SHA256)


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """What was measured on one device in one run.

    ``speedups``: "int8_vs_teacher" -> how many times faster, compute of the first batch size and
    number of threads; others end in "@batch8", "@threads2", "@batch8,threads2" or "@end_to_end".
    """

    mode: str = field(metadata={"pattern": "^(quick|mlperf)$"})
    command: str
    started: str
    host: Host
    affinity: tuple[int, ...] | None = None  # processors that the user restricted it to
    bundle: BundleFacts
    teacher: TeacherFacts | None = None
    rows: list[LatencyRow]  # compute for all numbers of threads and batch sizes, then end to end
    slowest: str = ""  # the entry that speed-ups without a teacher are against
    speedups: dict[str, Ratio]
    cold: dict[str, Cold]  # entry -> its first image in a new process
    breakdown: dict[str, Breakdown]
    sustained: list[Window] | None
    sustained_of: str | None = None
    kernels: dict[str, dict[str, int]]  # entry -> kernel -> nodes that ran with it
    states: list[str]  # what was not measured or not met, and why

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", _one_line(self.command))
        object.__setattr__(self, "states", [_one_line(state) for state in self.states])

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        teacher = asdict(self.teacher) if self.teacher else None
        rules = {"follows": list(mlperf.FOLLOWS), "does_not_follow": list(mlperf.DOES_NOT_FOLLOW)}
        return {
            "schema": SCHEMA,
            "kind": KIND,
            **asdict(self),
            "teacher": teacher and {key: value for key, value in teacher.items() if value},
            "rules": rules if self.mode == "mlperf" else None,
        }


def entry_of(row: LatencyRow) -> str:
    """The name of a row's entry: its precision, or "teacher"."""
    return "teacher" if row.model == "teacher" else row.precision


def _one_line(words: str) -> str:
    """Printable, and no longer than bench.json allows."""
    return UNSEEN.sub(" ", words)[:MAX_TEXT]
