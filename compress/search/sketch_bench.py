"""Stage "sketch-bench": how fast the untrained files of all candidates are on this machine."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from compress.budgets.variants import HOST
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.search.candidates import Row

LATENCIES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0}


def run(ctx: StageContext) -> dict[str, Any]:
    """Latency of one image, compute only, all files interleaved; by the first ``bench.threads``."""
    from runtime.backends import load
    from runtime.bench import latency

    threads = ctx.settings.bench.threads[0]
    files = {
        (name, precision): sketch.path / sketch.facts["files"][precision]
        for name, sketch in ctx.inputs.items()
        for precision in ("fp32", "int8")
        if precision in sketch.facts["files"]
    }
    calls = {}
    for key, file in files.items():
        runner = load("onnxruntime", file, threads=threads)
        edge = int(runner.input_size or 0)
        noise = np.random.Generator(np.random.Philox(0)).standard_normal((1, 3, edge, edge))
        calls["|".join(key)] = partial(runner.run, noise.astype(np.float32))
    with ctx.progress.task("time candidates", total=1, unit="series") as task:
        series = latency.measure(calls, ctx.settings.budget.seconds * len(calls))
        task.advance()
    rows: dict[str, dict[str, Row]] = {name: {} for name in ctx.inputs}
    for name, precision in files:
        samples = series[f"{name}|{precision}"]
        judged = latency.verdict(samples)
        rows[name][precision] = {
            "basis": "measured",
            "device": HOST,
            "untrained": True,
            "threads": threads,
            "n": samples.n,
            **{key: samples.percentile_ms(percent) for key, percent in LATENCIES.items()},
            "size_bytes": ctx.inputs[name].facts["bytes"][precision],
            "verdict": judged.stamp,
            "reason": judged.reason,
        }
    write_json(ctx.folder / "latency.json", rows)
    return {"rows": rows}
