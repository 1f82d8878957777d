"""Time, energy, memory and kernels of every timed variant on this machine: latency.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.bench.artifact import Int8Kernels
from compress.bench.variants import BASELINE, LOGITS, NOT_TIMED, SHIPPING, ModelVariant
from compress.data.artifact import TEST
from compress.data.testsets import TestSets
from compress.engine.stage import StageContext
from export.artifact import ExportArtifact
from export.bundle.files import MODELS
from runtime import Classifier, PreprocessSpec, normalize
from runtime.backends import BACKENDS
from runtime.backends.onnxruntime import quantized_kernels
from runtime.bench import latency
from runtime.bench.breakdown import Breakdown, break_down
from runtime.bench.cold import Cold, measure_cold
from runtime.bench.latency import COMPUTE, END_TO_END, LatencyRow, Ratio, Samples
from runtime.bench.photos import encoded
from runtime.bench.run import NO_SENSOR
from runtime.host import sensors, telemetry
from runtime.host.energy import Energy, idle_watts, measure_energy


@dataclass(frozen=True)
class Speed:
    """The content of latency.json; keys of ``breakdown`` are precisions, others are variants."""

    rows: list[LatencyRow]
    breakdown: dict[str, Breakdown]
    speedups: dict[str, Ratio]
    cold: dict[str, Cold]
    kernels: Int8Kernels
    environment: telemetry.Host
    states: list[str]
    date: str  # when it was measured, UTC

    @property
    def stamps(self) -> list[str]:
        """Of the series whose ratio decides what ships: fp32 and int8 at the first threads."""
        return [
            row.verdict
            for row in self.rows
            if f"{row.model}_{row.precision}" in SHIPPING
            and row.includes == COMPUTE
            and row.threads == self.rows[0].threads
        ]


def measure_speed(ctx: StageContext, variants: list[ModelVariant], spec: PreprocessSpec) -> Speed:
    """Timed variants interleaved, one image, each number of threads; then end to end.

    The first number of threads gets ``bench.seconds``; each further one gets half, as do the
    end-to-end series (as a whole, step by step, and bare). ``spec`` is the student's.
    """
    settings, export = ctx.settings.bench, ExportArtifact(ctx.inputs["export"].path)
    timed = [one for one in variants if one.output == LOGITS and one.name not in NOT_TIMED]
    threads = list(dict.fromkeys((*settings.threads, telemetry.usable_cores())))
    cold = {one.name: _cold(one, export, threads[0]) for one in timed if one.name != BASELINE}
    rows: list[LatencyRow] = []
    speedups: dict[str, Ratio] = {}
    states: list[str] = []
    with ctx.progress.task("latency", total=len(threads) + 1, unit="series") as task:
        for count in threads:
            loaded = {one.name: one.load(export, count) for one in timed}
            calls = {
                name: partial(item.runner.run, normalize(_noise(item.spec.size), item.spec))
                for name, item in loaded.items()
            }
            first = count == threads[0]
            series = latency.measure(calls, settings.seconds if first else settings.seconds / 2)
            costs: dict[str, Energy] = {}
            if first:
                speedups = _speedups(series, ctx.seed)
                costs, states = energy(calls, settings.seconds / 4)
            for name, samples in series.items():
                start = cold[name].row_fields if first and name in cold else {}
                rows.append(_row(loaded[name], name, samples, energy=costs.get(name), **start))
            task.advance()
        students = {one.name: one.load(export, threads[0]) for one in timed if one.name in SHIPPING}
        photo, about = _photo(ctx, spec)
        breakdowns, series = break_down(students, [photo], settings.seconds / 2)
        rows += [
            _row(students[name], name, samples, includes=END_TO_END, image=about)
            for name, samples in series.items()
        ]
        task.advance()
    ran = quantized_kernels(export.bundle / MODELS["int8"], spec.size)
    return Speed(
        rows=rows,
        breakdown={name.removeprefix("student_"): part for name, part in breakdowns.items()},
        speedups=speedups,
        cold=cold,
        kernels=Int8Kernels(ran, BACKENDS["onnxruntime"].is_quantized(ran)),
        environment=telemetry.host(),
        states=states,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def energy(
    calls: Mapping[str, Callable[[], object]], seconds: float
) -> tuple[dict[str, Energy], list[str]]:
    """Variant -> energy of an inference, one after the other; and why any is missing."""
    sensor = sensors.sensor()
    if sensor is None:
        return {}, sensors.obstacles() or [NO_SENSOR]
    idle = idle_watts(sensor)
    costs = {name: measure_energy(call, seconds, sensor, idle=idle) for name, call in calls.items()}
    silent = [name for name, cost in costs.items() if not cost]
    why = f"{sensor.source} gave no reading"
    states = [f"{why}: energy of {name} was not measured" for name in silent]
    return {name: cost for name, cost in costs.items() if cost}, states


def _speedups(series: Mapping[str, Samples], seed: int) -> dict[str, Ratio]:
    pairs = [("teacher", name) for name in series if name != "teacher"]
    pairs += [(slow, "student_int8") for slow in ("student_fp32", BASELINE)]
    return {
        f"{fast}_vs_{slow}": latency.ratio(series[slow], series[fast], seed=seed)
        for slow, fast in pairs
        if slow in series and fast in series
    }


def _row(item: Classifier, name: str, samples: Samples, **facts: Any) -> LatencyRow:
    model, _, precision = name.partition("_")
    return latency.row(
        samples,
        model=model,
        precision=precision or item.precision,
        backend=item.backend,
        batch=1,
        threads=item.runner.threads,
        provider=item.runner.provider,
        versions=item.runner.versions,
        **facts,
    )


def _cold(variant: ModelVariant, export: ExportArtifact, threads: int) -> Cold:
    if variant.is_teacher:
        return measure_cold(variant.file, "auto", threads)
    return measure_cold(export.bundle, variant.precision, threads)


def _noise(size: int) -> NDArray[np.uint8]:
    """An image (1, S, S, 3) of random pixels: time does not depend on the content."""
    rng = np.random.Generator(np.random.Philox(0))
    return rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def _photo(ctx: StageContext, spec: PreprocessSpec) -> tuple[bytes, str]:
    """What end-to-end rows decode: the first test image as JPEG, or a gray one."""
    sets = TestSets(ctx)
    image = Image.fromarray(np.full((spec.resize, spec.resize, 3), 128, np.uint8))
    if len(sets.images(TEST)):
        image = sets.originals(TEST).image(0)
    return encoded(image), f"JPEG, {image.width} × {image.height}"
