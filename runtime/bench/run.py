"""A bundle timed in one call: cold, first, warm, sustained and end to end, beside its teacher.

Everything that is compared runs interleaved in this process, on the same threads and processors.
Nothing is estimated: what could not be measured is null, and ``states`` says why.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import BACKENDS
from runtime.bench import entries, latency, mlperf
from runtime.bench.affinity import pinned
from runtime.bench.breakdown import break_down
from runtime.bench.cold import Cold, measure_cold
from runtime.bench.entries import TEACHER, Entry, KernelProfile, Loaded
from runtime.bench.latency import COMPUTE, END_TO_END
from runtime.bench.photos import photos
from runtime.bench.report import BenchReport, entry_of
from runtime.bench.sustained import Window, sustain
from runtime.bundle import open_bundle
from runtime.errors import BackendError
from runtime.host import sensors, telemetry
from runtime.host.energy import Energy, idle_watts, measure_energy

LONGEST_S = 1e6
LARGEST_BATCH = 1024
ALL = "all"  # engines
NO_SENSOR = "no power sensor that can be read here: energy was not measured"


@dataclass(frozen=True)
class Mode:
    """Length of a series: ``seconds`` for all entries together or ``each``, and least samples."""

    seconds: float
    each: bool = False
    min_samples: int = 0


MODES: dict[str, Mode] = {
    "quick": Mode(5.0),
    "mlperf": Mode(mlperf.MIN_SECONDS, each=True, min_samples=mlperf.MIN_SAMPLES),
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
    note: Callable[[str], object] = lambda text: None,
) -> BenchReport:
    """Times ``models`` of a bundle, interleaved with its teacher if there is one.

    Args:
        models: keys of the manifest; default: every plain precision that this engine loads.
        seconds: quick: for the compute rows of each combination of batch and threads together;
            mlperf: for each row. As much again (at most 5 s in mlperf mode) goes to end to end.
        batch: images per call of the compute rows; end to end is one image per call, on the first
            number of threads.
        threads: default: the usable physical cores.
        teacher: a bundle folder or a self-describing .onnx file; its default model is timed.
        backend: an engine, or "all": every one that is installed, interleaved.
        provider: for onnxruntime, e.g. "openvino".
        affinity: processors that everything here runs on.
        mode: "quick" or "mlperf" (``runtime.bench.mlperf`` lists the rules).
        sustained: seconds that the default model then runs without a pause.
        images: a file or a folder for the end-to-end rows; default: the first golden image as JPEG.
        command: what the user typed; default: this process's command line.
        note: called with a sentence before each part.

    Raises: BundleError, BackendError, ImageError: as ``Classifier.load`` and ``decode``.
    """
    if mode not in MODES:
        raise BackendError("bench mode", got=repr(mode), expected=" or ".join(MODES))
    options = {"provider": provider, "provider_options": dict(provider_options or {})}
    run = _Run(
        batches=(batch,) if isinstance(batch, int) else tuple(batch),
        options={name: value for name, value in options.items() if value not in (None, {})},
        takes_options="onnxruntime" if backend == ALL else backend,
        mode=MODES[mode] if seconds is None else replace(MODES[mode], seconds=seconds),
    )
    counts = [threads] if threads is None or isinstance(threads, int) else list(threads)
    run.check(counts, sustained)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    bundle = open_bundle(path)
    backends = run.installed() if backend == ALL else [backend]
    listed = entries.entries(bundle, models, teacher, backends)
    encoded, about = photos(bundle, images, run.states.append)
    with pinned(affinity):
        note(f"loading {', '.join(entry.key for entry in listed)}")
        first = run.load(listed, counts[0])
        run.compute(first, "", note)
        note(f"end to end, {about}")
        length = min(run.mode.seconds, MODES["quick"].seconds if run.mode.each else LONGEST_S)
        broken, whole = break_down(
            {key: item.classifier for key, item in first.items()}, encoded, length
        )
        run.rows += [run.row(first[key], whole[key], 1, END_TO_END, image=about) for key in whole]
        run.compare(whole, "@end_to_end")
        note("cold processes")
        cold = run.cold(first, counts[0])
        heated = bundle.default if bundle.default in first else next(iter(first))
        windows = None
        if sustained is not None:
            note(f"{heated} for {sustained:.0f} s without a pause")
            windows = run.sustain(first[heated], sustained)
        del first  # frees the models before they are loaded for other numbers of threads
        for count in counts[1:]:
            run.compute(run.load(listed, count), f"@threads{count}", note)
    return BenchReport(
        mode=mode,
        command=_typed() if command is None else command,
        started=started,
        host=telemetry.host(),
        affinity=None if affinity is None else tuple(affinity),
        bundle=entries.bundle_facts(bundle),
        teacher=None if teacher is None else entries.teacher_facts(teacher),
        rows=[_with_cold(row, cold) for row in run.rows],
        slowest=run.slowest,
        speedups=run.speedups,
        cold=cold,
        breakdown=broken,
        sustained=windows,
        sustained_of=None if windows is None else heated,
        kernels={key: found.kernels for key, found in run.profiles.items()},
        states=list(dict.fromkeys(run.states)),
    )


@dataclass
class _Run:
    """What a run has measured so far, and how."""

    batches: tuple[int, ...]
    options: dict[str, Any]
    takes_options: str  # the engine that they are for
    mode: Mode
    rows: list[latency.LatencyRow] = field(default_factory=list)
    speedups: dict[str, latency.Ratio] = field(default_factory=dict)
    profiles: dict[str, KernelProfile] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    idle: dict[str, float | None] = field(default_factory=dict)
    slowest: str = ""

    def check(self, counts: Sequence[int | None], sustained: float | None) -> None:
        """Refuses what cannot be measured, before anything is loaded."""
        batches_ok = self.batches and all(1 <= images <= LARGEST_BATCH for images in self.batches)
        if not batches_ok or not counts or not 0 < self.mode.seconds <= LONGEST_S:
            batch = ", ".join(map(str, self.batches))
            got = f"batch {batch}, {len(counts)} thread counts, {self.mode.seconds} s"
            raise BackendError("bench", got=got, expected=f"1..{LARGEST_BATCH} images, some time")
        if sustained is not None and not 0 < sustained <= LONGEST_S:
            raise BackendError("bench --sustained", got=f"{sustained} s", expected="some time")

    def installed(self) -> list[str]:
        """The engines of this machine; those that it lacks are recorded."""
        found = []
        for name, row in BACKENDS.items():
            if find_spec(row.library) is not None:
                found.append(name)
            else:
                lacks = f"{name} was not timed: it is not installed"
                self.states.append(f"{lacks}; pip install 'clip2edge[{row.extra}]'")
        return found

    def load(self, listed: Sequence[Entry], threads: int | None) -> dict[str, Loaded]:
        """Loads all entries; an unrequested one that fails is recorded and skipped."""
        out, failures = {}, []
        for entry in listed:
            try:
                options = self.options_of(entry)
                item = entries.load(entry, self.batches, threads, options)
                found = self.profiles.get(entry.key) or entries.kernel_profile(item, options)
            except BackendError as error:
                if entry.requested:
                    raise
                failures.append(error)
                self.states.append(f"{entry.key} was not timed: {error}")
                continue
            out[entry.key] = item
            self.profiles[entry.key] = found
            self.states += found.states
        if failures and all(key == TEACHER for key in out):
            raise failures[0]
        return out

    def compute(
        self, loaded: Mapping[str, Loaded], suffix: str, note: Callable[[str], object]
    ) -> None:
        """Compute rows of every batch size, with energy and speed-ups."""
        each = self.mode.seconds if self.mode.each else 0.0
        threads = suffix.replace("@threads", ", threads ")
        for images in self.batches:
            length = f"{self.mode.seconds:g} s{' each' if each else ''}"
            note(f"{' against '.join(loaded)}, batch {images}{threads}, {length}")
            calls = {
                key: partial(item.classifier.runner.run, item.batches[images])
                for key, item in loaded.items()
            }
            series = latency.measure(
                calls,
                0.0 if each else self.mode.seconds,
                warmup_seconds=min(10.0, max(0.5, self.mode.seconds / 4)),
                min_samples=self.mode.min_samples if images == 1 else 0,
                seconds_each=each,
            )
            costs = {key: self._energy(item, calls[key], images) for key, item in loaded.items()}
            for key, item in loaded.items():
                facts = {"energy": costs[key], "device_p50_ms": _device_p50_ms(item, images)}
                self.rows.append(self.row(item, series[key], images, COMPUTE, **facts))
            further = f"@batch{images}{suffix.replace('@', ',')}"
            self.compare(series, suffix if images == self.batches[0] else further)

    def sustain(self, item: Loaded, seconds: float) -> list[Window]:
        """One model without a pause."""
        call = partial(item.classifier.runner.run, item.batches[self.batches[0]])
        return sustain(call, seconds, sensors.sensor(item.unit), on_gpu=item.unit == sensors.GPU)

    def cold(self, loaded: Mapping[str, Loaded], threads: int | None) -> dict[str, Cold]:
        """First images in new processes; a failed cold start is recorded, the others continue."""
        out = {}
        for key, item in loaded.items():
            model = (item.entry.source, item.entry.precision)
            try:
                options = self.options_of(item.entry)
                out[key] = measure_cold(*model, threads, None, item.entry.backend, **options)
            except BackendError as error:
                self.states.append(f"cold start of {key} was not measured: {error}")
        return out

    def options_of(self, entry: Entry) -> dict[str, Any]:
        """The options of an entry's engine."""
        return self.options if entry.backend == self.takes_options else {}

    def row(
        self, item: Loaded, samples: latency.Samples, images: int, includes: str, **facts: Any
    ) -> latency.LatencyRow:
        """The report's row of one series."""
        runner, ran = item.classifier.runner, self.profiles[item.entry.key]
        is_teacher = item.entry.key == TEACHER
        early_stopping = None
        if self.mode.each and includes == COMPUTE:
            name = f"{item.entry.key}, batch {images}, {runner.threads} threads"
            self.states += mlperf.shortfalls(name, samples.n, samples.seconds, images)
            early_stopping = {f"p{p}": mlperf.estimate_ms(samples.ns, p) for p in (90, 99)}
        return latency.row(
            samples,
            model=item.entry.model,
            precision=item.classifier.precision if is_teacher else item.entry.key,
            backend=item.classifier.backend,
            batch=images,
            threads=runner.threads,
            provider=runner.provider,
            includes=includes,
            versions=runner.versions,
            kernels=ran.kernels,
            nodes=ran.nodes,
            resident_bytes=item.resident_bytes,
            file_sha256=item.entry.sha256,
            early_stopping_ms=early_stopping,
            **facts,
        )

    def compare(self, series: Mapping[str, latency.Samples], suffix: str) -> None:
        """Each entry against the teacher, or against the slowest; and int8 against fp32."""
        slowest = max(series, key=lambda key: float(np.median(series[key].ns)))
        self.slowest = self.slowest or slowest
        against = TEACHER if TEACHER in series else slowest
        pairs = [(key, against) for key in series if key != against]
        pairs += [(key, "fp32") for key in series if key.partition(".")[0] == "int8"]
        for key in series:  # against the same engine's float model, and the first engine's own
            base, _, engine = key.rpartition(".")
            pairs += [(key, f"fp32.{engine}"), (key, base)] if engine in BACKENDS else []
        for fast, slow in dict.fromkeys(pairs):
            if slow in series and slow != fast:
                name = f"{fast}_vs_{slow}{suffix}"
                self.speedups[name] = latency.ratio(series[slow], series[fast])

    def _energy(self, item: Loaded, call: Callable[[], object], images: int) -> Energy | None:
        sensor = sensors.sensor(item.unit)
        if sensor is None:
            self.states += sensors.obstacles() or [NO_SENSOR]
            return None
        if sensor.source not in self.idle:
            self.idle[sensor.source] = idle_watts(sensor)
        cost = measure_energy(call, self.mode.seconds / 4, sensor, images, self.idle[sensor.source])
        if cost is None:
            key = item.entry.key
            self.states.append(f"{sensor.source} gave no reading: energy of {key} was not measured")
        return cost


def _device_p50_ms(item: Loaded, images: int) -> float | None:
    """By the device's own clock, of 101 calls; None without a clock, or if it splits the batch."""
    runner: Any = item.classifier.runner
    if not hasattr(runner, "device_ms") or images > runner.max_batch:
        return None
    return float(np.median(runner.device_ms(item.batches[images], 101)))


def _with_cold(row: latency.LatencyRow, cold: Mapping[str, Cold]) -> latency.LatencyRow:
    start = cold.get(entry_of(row), cold.get(row.precision))
    return replace(row, **start.row_fields) if start else row


def _typed() -> str:
    program = Path(sys.argv[0]).name
    words = ["python", "-m", "runtime"] if program == "__main__.py" else [program]
    return shlex.join([*words, *sys.argv[1:]])
