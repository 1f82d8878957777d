"""A bundle timed in one call: cold, first, warm, sustained and end to end, against its teacher
where one is given.

Everything that is compared runs interleaved in this process, on the same threads and processors.
Nothing is estimated: what could not be measured is null, and ``states`` says why.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bench import latency, mlperf
from runtime.bench.affinity import pinned
from runtime.bench.breakdown import Breakdown, break_down
from runtime.bench.cold import Cold, measure_cold
from runtime.bench.contenders import (
    TEACHER,
    Contender,
    Evidence,
    Loaded,
    bundle_facts,
    contenders,
    evidence,
    load,
    photos,
    teacher_facts,
)
from runtime.bench.file import KIND, MAX_TEXT, SCHEMA, UNSEEN
from runtime.bench.sustained import Window, sustain
from runtime.bundle import open_bundle
from runtime.errors import BackendError
from runtime.host import sensors, telemetry
from runtime.host.energy import idle_watts, measure_energy

COMPUTE = "compute"
END_TO_END = "decode + resize + normalize + compute + softmax"
LONGEST_S = 1e6
LARGEST_BATCH = 1024
DEVICE_CALLS = 101
NO_SENSOR = "no power sensor that can be read here: energy was not measured"


@dataclass(frozen=True)
class Mode:
    """How long a series is: ``seconds`` for all competitors together, or for each one, and its
    least samples.
    """

    seconds: float
    each: bool = False
    min_samples: int = 0


MODES = {
    "quick": Mode(5.0),
    "mlperf": Mode(mlperf.MIN_SECONDS, each=True, min_samples=mlperf.MIN_SAMPLES),
}


@dataclass(frozen=True)
class BenchReport:
    """What was measured: the content of bench.json.

    Attributes:
        rows: compute rows of every number of threads and batch size, then end-to-end rows.
        cold: contender -> its first image in a new process.
        slowest: the contender that the speed-ups without a teacher are against.
        speedups: "int8_vs_teacher" -> how many times faster, compute of the first batch size and
            number of threads; others have "@batch8", "@threads2", "@batch8,threads2" or
            "@end_to_end" behind the name.
        kernels: contender -> kernel -> nodes that ran with it.
        states: what was not measured or not met, and why.
        affinity: processors that everything ran on, where the user chose them.
    """

    host: telemetry.Host
    rows: list[latency.LatencyRow]
    cold: dict[str, Cold]
    slowest: str
    speedups: dict[str, latency.Ratio]
    mode: str = "quick"
    command: str = ""
    started: str = ""
    bundle: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] | None = None
    breakdown: dict[str, Breakdown] = field(default_factory=dict)
    sustained: list[Window] | None = None
    sustained_of: str | None = None
    kernels: dict[str, dict[str, int]] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    affinity: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        mlperf_rules = {
            "follows": list(mlperf.FOLLOWS),
            "does_not_follow": list(mlperf.DOES_NOT_FOLLOW),
        }
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "mode": self.mode,
            "command": _one_line(self.command),
            "started": self.started,
            "host": self.host.to_json(),
            "affinity": None if self.affinity is None else list(self.affinity),
            "bundle": self.bundle,
            "teacher": self.teacher,
            "rows": [row.to_json() for row in self.rows],
            "slowest": self.slowest,
            "speedups": {name: value.to_json() for name, value in self.speedups.items()},
            "cold": {
                name: {**asdict(c), "heavy_modules": list(c.heavy_modules)}
                for name, c in self.cold.items()
            },
            "breakdown": {name: value.to_json() for name, value in self.breakdown.items()},
            "sustained": None
            if self.sustained is None
            else [window.to_json() for window in self.sustained],
            "sustained_of": self.sustained_of,
            "kernels": self.kernels,
            "states": [_one_line(state) for state in self.states],
            "rules": mlperf_rules if self.mode == "mlperf" else None,
        }


def bench(
    path: str | Path,
    models: Sequence[str] | None = None,
    *,
    seconds: float | None = None,
    batch: int | Sequence[int] = 1,
    threads: int | Sequence[int] | None = None,
    teacher: str | Path | None = None,
    backend: str = "onnxruntime",
    provider: str | None = None,
    provider_options: Mapping[str, str] | None = None,
    affinity: Sequence[int] | None = None,
    mode: str = "quick",
    sustained: float | None = None,
    images: str | Path | None = None,
    command: str | None = None,
    note: Callable[[str], object] = lambda told: None,
) -> BenchReport:
    """Times ``models`` of a bundle, interleaved, and its teacher among them where one is given.

    Args:
        path: bundle folder.
        models: keys of its manifest; default: every plain precision that this engine loads.
        seconds: quick: for the compute rows of each combination of batch and threads together;
            mlperf: for each row. As much again goes to the end-to-end rows (at most 5 s in mlperf
                mode).
        batch: images per call of the compute rows; end to end is one image per call, on the first
            number of threads.
        threads: compute threads; default: the usable physical cores.
        teacher: a bundle folder or a self-describing .onnx file; its default model is timed.
        backend: a row of ``runtime.backends.BACKENDS``.
        provider: for onnxruntime, e.g. "openvino".
        affinity: processors that everything here runs on.
        mode: "quick" or "mlperf" (``runtime.bench.mlperf`` says which rules that is).
        sustained: seconds that the default model then runs without a pause.
        images: a file, or a folder of images, for the end-to-end rows; default: the first golden
            image as JPEG.
        command: what the user typed; default: this process's command line.
        note: is told what comes next, before each part.

    Raises:
        BundleError, BackendError, ImageError: as ``Classifier.load`` and ``decode``.
    """
    run = _Run(
        batches=(batch,) if isinstance(batch, int) else tuple(batch),
        backend=backend,
        options=_given(provider=provider, provider_options=dict(provider_options or {}) or None),
        mode=_mode(mode) if seconds is None else replace(_mode(mode), seconds=seconds),
    )
    counts: list[int | None] = (
        [threads] if threads is None or isinstance(threads, int) else list(threads)
    )
    run.check(counts, sustained)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    bundle = open_bundle(path)
    entries = contenders(bundle, models, teacher, backend)
    shown, about = photos(bundle, images)
    with pinned(affinity):
        note(f"loading {', '.join(entry.key for entry in entries)}")
        first = run.load(entries, counts[0])
        run.compute(first, "", note)
        note(f"end to end, {about}")
        whole_seconds = (
            min(run.mode.seconds, MODES["quick"].seconds) if run.mode.each else run.mode.seconds
        )
        broken, whole = break_down(
            {key: item.classifier for key, item in first.items()}, shown, whole_seconds
        )
        run.rows += [
            run.row(first[key], samples, 1, END_TO_END, image=about)
            for key, samples in whole.items()
        ]
        run.compare(whole, "@end_to_end")
        note("cold processes")
        cold = run.cold(first, counts[0])
        heated = bundle.default if bundle.default in first else next(iter(first))
        if sustained is not None:
            note(f"{heated} for {sustained:.0f} s without a pause")
        windows = None if sustained is None else run.sustain(first[heated], sustained)
        del first
        for count in counts[1:]:
            run.compute(run.load(entries, count), f"@threads{count}", note)
    return BenchReport(
        host=telemetry.host(),
        rows=[_with_cold(row, cold) for row in run.rows],
        cold=cold,
        slowest=run.slowest,
        speedups=run.speedups,
        mode=mode,
        command=_typed() if command is None else command,
        started=started,
        bundle=bundle_facts(bundle),
        teacher=None if teacher is None else teacher_facts(teacher),
        breakdown=broken,
        sustained=windows,
        sustained_of=None if windows is None else heated,
        kernels={key: found.kernels for key, found in run.evidence.items()},
        states=list(dict.fromkeys(run.states)),
        affinity=None if affinity is None else tuple(affinity),
    )


@dataclass
class _Run:
    """What a run has measured so far, and how."""

    batches: tuple[int, ...]
    backend: str
    options: dict[str, Any]
    mode: Mode
    rows: list[latency.LatencyRow] = field(default_factory=list)
    speedups: dict[str, latency.Ratio] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    idle: dict[str, float | None] = field(default_factory=dict)
    slowest: str = ""

    def check(self, counts: Sequence[int | None], sustained: float | None) -> None:
        """Refuses what cannot be measured, before anything is loaded."""
        batches_ok = self.batches and all(1 <= images <= LARGEST_BATCH for images in self.batches)
        if not batches_ok or not counts or not 0 < self.mode.seconds <= LONGEST_S:
            raise BackendError(
                "bench",
                got=f"batch {', '.join(map(str, self.batches))}, {len(counts)} thread counts, "
                f"{self.mode.seconds} s",
                expected=f"1..{LARGEST_BATCH} images and some time",
            )
        if sustained is not None and not 0 < sustained <= LONGEST_S:
            raise BackendError("bench --sustained", got=f"{sustained} s", expected="some time")

    def load(self, entries: Sequence[Contender], threads: int | None) -> dict[str, Loaded]:
        """Everyone in memory; one that nobody named and that does not load is left out, which is
        recorded.
        """
        out, failures = {}, []
        for entry in entries:
            try:
                item = load(entry, self.batches, threads, self.backend, self.options)
                found = self.evidence.get(entry.key) or evidence(item, self.options)
            except BackendError as error:
                if entry.wanted:
                    raise
                failures.append(error)
                self.states.append(f"{entry.key} was not timed: {error}")
                continue
            out[entry.key], self.evidence[entry.key] = item, found
            self.states += found.states
        if failures and all(key == TEACHER for key in out):
            raise failures[0]
        return out

    def compute(
        self, loaded: Mapping[str, Loaded], suffix: str, note: Callable[[str], object]
    ) -> None:
        """Compute rows of every batch size, with energy and speed-ups."""
        for images in self.batches:
            length = f"{self.mode.seconds:g} s{' each' if self.mode.each else ''}"
            note(
                f"{' against '.join(loaded)}, batch "
                f"{images}{suffix.replace('@threads', ', threads ')}, {length}"
            )
            calls = {
                key: partial(item.classifier.runner.run, item.batches[images])
                for key, item in loaded.items()
            }
            each = self.mode.seconds if self.mode.each else 0.0
            samples = self.mode.min_samples if images == 1 else 0
            series = latency.measure(
                calls,
                0.0 if each else self.mode.seconds,
                warmup_seconds=min(10.0, max(0.5, self.mode.seconds / 4)),
                min_samples=samples,
                seconds_each=each,
            )
            costs = {key: self._energy(item, calls[key], images) for key, item in loaded.items()}
            for key, item in loaded.items():
                on_device = _device_p50_ms(item, images)
                self.rows.append(
                    self.row(
                        item,
                        series[key],
                        images,
                        COMPUTE,
                        energy=costs[key],
                        device_p50_ms=on_device,
                    )
                )
            combination = f"@batch{images}" if images != self.batches[0] else ""
            self.compare(
                series,
                (combination + suffix).replace(
                    "@threads", ",threads" if combination else "@threads"
                ),
            )

    def cold(self, loaded: Mapping[str, Loaded], threads: int | None) -> dict[str, Cold]:
        """First images in new processes; one that fails there costs nobody the other figures, and
        is recorded.
        """
        out = {}
        for key, item in loaded.items():
            source, precision = item.contender.source, item.contender.precision
            try:
                out[key] = measure_cold(
                    source, precision, threads, None, self.backend, **self.options
                )
            except BackendError as error:
                self.states.append(f"cold start of {key} was not measured: {error}")
        return out

    def sustain(self, item: Loaded, seconds: float) -> list[Window]:
        """One model without a pause."""
        call = partial(item.classifier.runner.run, item.batches[self.batches[0]])
        return sustain(call, seconds, sensors.sensor(item.unit), on_gpu=item.unit == sensors.GPU)

    def row(
        self, item: Loaded, samples: latency.Samples, images: int, includes: str, **facts: Any
    ) -> latency.LatencyRow:
        """The report's line of one series."""
        runner, seen = item.classifier.runner, self.evidence[item.contender.key]
        strict = self.mode.each and includes == COMPUTE
        if strict:
            name = f"{item.contender.key}, batch {images}, {runner.threads} threads"
            self.states += mlperf.shortfalls(name, samples.n, samples.seconds, images)
        return latency.row(
            samples,
            model=item.contender.model,
            precision=item.classifier.precision,
            backend=item.classifier.backend,
            batch=images,
            threads=runner.threads,
            provider=runner.provider,
            includes=includes,
            versions=runner.versions,
            kernels=seen.kernels,
            nodes=seen.nodes,
            resident_bytes=item.resident_bytes,
            file_sha256=item.contender.sha256,
            early_stopping_ms={f"p{p}": mlperf.estimate_ms(samples.ns, p) for p in (90, 99)}
            if strict
            else None,
            **facts,
        )

    def compare(self, series: Mapping[str, latency.Samples], suffix: str) -> None:
        """Everyone against the teacher, or against the slowest; and int8 against fp32."""
        slowest = max(series, key=lambda key: float(np.median(series[key].ns)))
        self.slowest = self.slowest or slowest
        against = TEACHER if TEACHER in series else slowest
        pairs = [(key, against) for key in series if key != against]
        pairs += [(key, "fp32") for key in series if key.partition(".")[0] == "int8"]
        for fast, slow in dict.fromkeys(pairs):
            if fast in series and slow in series:
                self.speedups[f"{fast}_vs_{slow}{suffix}"] = latency.ratio(
                    series[slow], series[fast]
                )

    def _energy(self, item: Loaded, call: Any, images: int) -> dict[str, Any] | None:
        sensor = sensors.sensor(item.unit)
        if sensor is None:
            self.states += sensors.obstacles() or [NO_SENSOR]
            return None
        if sensor.source not in self.idle:
            self.idle[sensor.source] = idle_watts(sensor)
        cost = measure_energy(call, self.mode.seconds / 4, sensor, images, self.idle[sensor.source])
        if cost is None:
            self.states.append(
                f"{sensor.source} gave no reading: energy of {item.contender.key} was not measured"
            )
        return cost.to_json() if cost else None


def _device_p50_ms(item: Loaded, images: int) -> float | None:
    """The engine's own clock on the device, without copies and host; None where it has none, or
    splits the batch.
    """
    runner: Any = item.classifier.runner
    if not hasattr(runner, "device_ms") or images > runner.max_batch:
        return None
    return float(np.median(runner.device_ms(item.batches[images], DEVICE_CALLS)))


def _with_cold(row: latency.LatencyRow, cold: Mapping[str, Cold]) -> latency.LatencyRow:
    found = cold.get(TEACHER if row.model == TEACHER and TEACHER in cold else row.precision)
    if found is None:
        return row
    return replace(
        row, load_ms=found.load_ms, first_ms=found.first_ms, peak_rss_bytes=found.peak_rss_bytes
    )


def _mode(name: str) -> Mode:
    if name not in MODES:
        raise BackendError("bench mode", got=repr(name), expected=" or ".join(MODES))
    return MODES[name]


def _one_line(words: str) -> str:
    """Printable, and as long as bench.json takes it."""
    return UNSEEN.sub(" ", words)[:MAX_TEXT]


def _typed() -> str:
    program = Path(sys.argv[0]).name
    return shlex.join(
        ["python", "-m", "runtime"] if program == "__main__.py" else [program]
    ) + "".join(f" {shlex.quote(argument)}" for argument in sys.argv[1:])


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
