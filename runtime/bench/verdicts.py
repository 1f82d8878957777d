"""What a bench says about int8 and about engines: which to ship on this machine, and why."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.backends import BACKENDS
from runtime.bench.latency import COMPUTE, LatencyRow
from runtime.bench.report import BenchReport, entry_of


def verdicts(report: BenchReport) -> list[str]:
    """A sentence for each engine that ran int8 and its rival, and one for the fastest of several.

    As in the report of a build: int8 pays if most of its products ran on integer kernels, and its
    95 % interval reaches the engine's least gain.
    """
    first = next((row for row in report.rows if row.includes == COMPUTE), None)
    rows = {
        entry_of(row): row
        for row in report.rows
        if row.includes == COMPUTE
        and first is not None
        and (row.batch, row.threads) == (first.batch, first.threads)
    }
    return [*_of_int8(report, rows), *_of_engines(report, rows)]


def _of_int8(report: BenchReport, rows: dict[str, LatencyRow]) -> Iterator[str]:
    for name, backend in BACKENDS.items():
        keys = {
            precision: next((key for key in candidates if _ran_on(rows, key, name)), "")
            for precision in ("int8", backend.rival)
            for candidates in [(f"{precision}.{name}", backend.model(precision), precision)]
        }
        fast, slow = keys["int8"], keys[backend.rival]
        ratio = report.speedups.get(f"{fast}_vs_{slow}")
        if ratio is None:
            continue
        kernels = report.kernels.get(fast, {})
        integer = sum(n for kind, n in kernels.items() if kind in backend.integer_kernels)
        floating = sum(n for kind, n in kernels.items() if kind in backend.float_kernels)
        pays = backend.is_quantized(kernels) and ratio.ci95[1] >= backend.min_speedup
        low, high = ratio.ci95
        why = f"{ratio.p50:.2f}x ({low:.2f} to {high:.2f}) as fast as {slow}"
        why += f", {backend.min_speedup:g}x is needed"
        ran = f"{integer} of {integer + floating} products on integer kernels"
        yield f"{name}: {'int8 pays' if pays else f'ship {slow}'}; {fast} is {why}; {ran}"


def _ran_on(rows: dict[str, LatencyRow], key: str, engine: str) -> bool:
    return key in rows and rows[key].backend == engine


def _of_engines(report: BenchReport, rows: dict[str, LatencyRow]) -> Iterator[str]:
    timed = {key: row.p50_ms for key, row in rows.items() if row.p50_ms and key != "teacher"}
    if len({rows[key].backend for key in timed}) < 2:
        return
    best = min(timed, key=lambda key: timed[key])
    doubt = "" if rows[best].verdict == "VALID" else f"; its series is {rows[best].verdict}"
    yield f"fastest here: {best} on {rows[best].backend}, {timed[best]:.3f} ms{doubt}"
