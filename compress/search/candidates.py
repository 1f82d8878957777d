"""What each candidate would cost, before any of them is trained: exported with random weights,
timed here, estimated elsewhere.

Time and size do not depend on what the weights are, so an untrained file tells both. What it tells
of this machine is a measurement; of any other it is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compress.budgets.calibration import Calibration
from compress.budgets.costs import Costs, costs_of
from compress.budgets.devices import device
from compress.budgets.grammar import HOST, Limit, devices_of, show
from compress.budgets.variants import estimates
from compress.engine.config import HostSettings, Settings
from compress.engine.progress import Progress
from compress.engine.runner import make
from compress.engine.stage import Stage, StageContext
from compress.engine.store import Artifact, Store, write_json

SKETCH = Stage(
    "sketch",
    ("data",),
    (
        "distill.student",
        "distill.init",
        "distill.head",
        "distill.activation",
        "image",
        "teacher.name",
        "export.opset",
    ),
    "export.sketch:run",
)
LATENCIES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}


@dataclass
class Candidate:
    """A student at a resolution.

    Attributes:
        settings: the run's settings with this student.
        sketch: its untrained files; None where it was refused before.
        costs: model key -> operations and bytes of that file.
        estimated: device -> precision -> estimate as JSON. measured: precision -> what was measured
            here.
        status, why: pruned, trained or chosen, and the reason.
        rungs: steps and held-out agreement, in the order in which they were trained.
    """

    student: str
    size: int
    settings: Settings
    sketch: Artifact | None = None
    costs: dict[str, Costs] = field(default_factory=dict)
    estimated: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: str = "pruned"
    why: str = ""
    fitting: tuple[str, ...] = ()  # precisions that break no known limit
    reasons: dict[str, str] = field(default_factory=dict)  # precision -> the limits it breaks
    rungs: list[dict[str, Any]] = field(default_factory=list)
    trained: Artifact | None = None  # the distill stage of the last rung
    top1: float | None = None  # of that, on the test split; taken after the choice

    @property
    def name(self) -> str:
        return f"{self.student} at {self.size} px"

    @property
    def macs(self) -> int:
        return self.costs["fp32"].macs if "fp32" in self.costs else 0

    def precisions(self, devices: Sequence[str]) -> tuple[str, ...]:
        """Precisions that every device of the budget computes in and that this student can have."""
        if self.sketch is None:
            return ()
        offered = {"fp32", "fp16", "int8"} - set(self.sketch.facts["refused"])
        for name in devices:
            offered &= set(device(name).precisions)
        return tuple(precision for precision in ("fp32", "fp16", "int8") if precision in offered)

    def value(self, limit: Limit, precision: str) -> tuple[float | None, str]:
        """What is known of a limit's metric before training, and whether it is measured or an
        estimate.
        """
        assert self.sketch is not None
        if limit.metric == "size":
            sizes = self.sketch.facts["bytes"]
            return (
                (sizes["fp32"] / 2, "estimate")
                if precision == "fp16"
                else (float(sizes[precision]), "measured")
            )
        if limit.device == HOST:
            return self.measured.get(precision, {}).get(f"{limit.metric}_ms"), "measured"
        told = self.estimated.get(str(limit.device), {}).get(precision, {})
        key = {"p50": "p50_ms", "energy": "energy_mj", "memory": "memory_bytes"}.get(
            limit.metric, ""
        )
        if limit.metric in ("p90", "p99"):  # never below the median
            median = told.get("p50_ms")
            return (median if median is not None and not limit.holds(median) else None), "estimate"
        return told.get(key), "estimate"

    def broken(self, limits: Iterable[Limit], precision: str) -> list[tuple[Limit, float, str]]:
        """Limits that are known to be broken: the limit, the value, its basis."""
        found = [(limit, *self.value(limit, precision)) for limit in limits]
        return [
            (limit, value, basis)
            for limit, value, basis in found
            if value is not None and not limit.holds(value)
        ]


def survey(
    settings: Settings,
    names: Sequence[str],
    size: int,
    limits: Sequence[Limit],
    calibrations: Sequence[Calibration],
    store: Store,
    host: HostSettings,
    progress: Progress,
) -> list[Candidate]:
    """The candidates of one resolution with all that can be known before training."""
    from compress.distill.missing import missing_student
    from compress.engine.errors import Clip2EdgeError
    from compress.engine.hub import hub_answers
    from compress.search.zoo import with_candidate
    from compress.stages import STAGES

    online = not settings.data.offline and hub_answers()
    found = [Candidate(name, size, with_candidate(settings, name, size)) for name in names]
    with progress.task("sketch candidates", total=len(found), unit="student") as task:
        for candidate in found:
            lost = missing_student(candidate.settings.distill, online)
            if lost is not None:
                candidate.why = f"its first weights are neither here nor reachable: {lost}"
            else:
                data = make(STAGES[0], candidate.settings, {}, store, host, progress)
                try:
                    candidate.sketch = make(
                        SKETCH, candidate.settings, {"data": data}, store, host, progress
                    )
                except Clip2EdgeError as error:
                    candidate.why = f"cannot be exported: {error}"
            task.advance()
    usable = [candidate for candidate in found if candidate.sketch is not None]
    for candidate in usable:
        assert candidate.sketch is not None
        files = {
            key: candidate.sketch.path / file
            for key, file in candidate.sketch.facts["files"].items()
        }
        candidate.costs = {key: costs_of(path) for key, path in files.items()}
        for name in devices_of(limits):
            told = estimates(candidate.costs, device(name), calibrations)
            candidate.estimated[name] = {
                precision: estimate.to_json() for precision, estimate in told.items()
            }
    if HOST in devices_of(limits) and usable:
        time_here(usable, settings, store, host, progress)
    return found


def time_here(
    candidates: Sequence[Candidate],
    settings: Settings,
    store: Store,
    host: HostSettings,
    progress: Progress,
) -> None:
    """Measures every untrained file on this machine, interleaved; a measurement that is in the
    store is taken again.
    """
    sketches = {c.name: c.sketch for c in candidates if c.sketch is not None}
    stage = Stage(
        "sketch-bench",
        tuple(sketches),
        ("bench.threads", "budget.seconds", "image.size"),
        f"{__name__}:bench_sketches",
        machine_bound=True,
    )
    timed = make(stage, settings, sketches, store, host, progress)
    for candidate in candidates:
        candidate.measured = timed.facts["rows"][candidate.name]


def bench_sketches(ctx: StageContext) -> dict[str, Any]:
    """Stage function of :func:`time_here`: latency of one image, compute only, on the first number
    of threads.
    """
    from runtime.backends import load
    from runtime.bench import latency

    threads = ctx.settings.bench.threads[0]
    calls, runners = {}, {}
    for name, sketch in ctx.inputs.items():
        for precision in ("fp32", "int8"):
            file = sketch.facts["files"].get(precision)
            if file is not None:
                runner = load("onnxruntime", Path(sketch.path) / file, threads=threads)
                edge = int(runner.input_size or 0)
                noise = np.random.Generator(np.random.Philox(0)).standard_normal((1, 3, edge, edge))
                runners[name, precision] = runner
                calls[f"{name}|{precision}"] = partial(runner.run, noise.astype(np.float32))
    seconds = ctx.settings.budget.seconds * len(calls)
    with ctx.progress.task("time candidates", total=1, unit="series") as task:
        series = latency.measure(calls, seconds)
        task.advance()
    rows: dict[str, dict[str, Any]] = {name: {} for name in ctx.inputs}
    for name, precision in runners:
        samples = series[f"{name}|{precision}"]
        judged = latency.verdict(samples)
        rows[name][precision] = {
            "basis": "measured",
            "device": HOST,
            "untrained": True,
            "threads": threads,
            "n": samples.n,
            **{f"{key}_ms": samples.percentile_ms(percent) for key, percent in LATENCIES.items()},
            "size_bytes": ctx.inputs[name].facts["bytes"][precision],
            "verdict": judged.stamp,
            "reason": judged.reason,
        }
    write_json(ctx.folder / "latency.json", rows)
    return {"rows": rows}


def nearest_miss(
    candidates: Iterable[Candidate], limits: Sequence[Limit], devices: Sequence[str]
) -> tuple[Candidate, str, list[tuple[Limit, float, str]]] | None:
    """The candidate and precision whose worst excess over a limit is the least, with the limits it
    breaks.
    """
    misses = [
        (max(limit.excess(value) for limit, value, _ in broken), candidate, precision, broken)
        for candidate in candidates
        for precision in candidate.precisions(devices)
        if (broken := candidate.broken(limits, precision))
    ]
    if not misses:
        return None
    _, candidate, precision, broken = min(misses, key=lambda miss: miss[0])
    return candidate, precision, broken


def words(broken: Sequence[tuple[Limit, float, str]]) -> str:
    """``p50<=1ms@pi5: 2.3 ms (estimate)`` of each broken limit."""
    return "; ".join(
        f"{limit.text}: {show(value, limit.unit)}{'' if basis == 'measured' else ' (estimate)'}"
        for limit, value, basis in broken
    )


def estimate_of(
    candidate: Candidate, precision: str, devices: Mapping[str, Any] | Sequence[str]
) -> dict[str, Any] | None:
    """The estimate that a row of the report shows: of the first device that is not this machine."""
    return next(
        (candidate.estimated.get(name, {}).get(precision) for name in devices if name != HOST), None
    )
