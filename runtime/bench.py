"""A bundle timed in one call: cold, first, warm, end to end, and the kernels that really ran."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime import golden, latency, telemetry
from runtime.backends.onnxruntime import quantized_kernels
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.classifier import Classifier
from runtime.cold import Cold, measure_cold
from runtime.errors import BackendError
from runtime.preprocess import normalise

COMPUTE = "compute"
END_TO_END = "decode + resize + normalise + compute + softmax"


@dataclass(frozen=True)
class BenchReport:
    """What was measured. ``speedups``: precision -> how many times faster than ``slowest``, compute only."""

    host: telemetry.Host
    rows: list[latency.LatencyRow]
    cold: dict[str, Cold]
    slowest: str
    speedups: dict[str, latency.Ratio]

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "host": self.host.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "cold": {name: asdict(value) for name, value in self.cold.items()},
            "slowest": self.slowest,
            "speedups": {name: value.to_json() for name, value in self.speedups.items()},
        }


def bench(
    path: str | Path,
    models: Sequence[str] | None = None,
    *,
    seconds: float = 5.0,
    batch: int = 1,
    threads: int | None = None,
) -> BenchReport:
    """Times ``models`` of a bundle (default: all that are not for TensorRT), interleaved, on onnxruntime.

    Args:
        seconds: for the compute rows together, and once more for the end-to-end rows.
        batch: images per call of the compute rows; end to end is one image per call.

    Raises:
        BundleError, BackendError: as ``Classifier.load``.
    """
    if batch < 1 or seconds <= 0:
        raise BackendError("bench", got=f"batch {batch}, {seconds} s", expected="at least 1 image and some time")
    bundle = open_bundle(path)
    names = list(models) if models else [name for name in bundle.models if not name.endswith(".trt")]
    cold = {name: measure_cold(path, name, threads) for name in names}
    loaded = {name: Classifier.load(path, name, threads=threads, verify=False) for name in names}
    tensor = normalise(_noise((batch, bundle.preprocess.size, bundle.preprocess.size, 3)), bundle.preprocess)
    photo = _photo(bundle)
    kernels = {name: quantized_kernels(bundle.model(name), bundle.preprocess.size) for name in names}
    compute = latency.measure({name: partial(item.runner.run, tensor) for name, item in loaded.items()}, seconds)
    whole = latency.measure({name: partial(item.predict, photo) for name, item in loaded.items()}, seconds)

    def row(name: str, samples: latency.Samples, images: int, includes: str) -> latency.LatencyRow:
        item = loaded[name]
        return latency.row(
            samples, model=Path(path).resolve().name, precision=name, backend=item.backend, batch=images,
            threads=item.runner.threads, provider=item.runner.provider, versions=item.runner.versions,
            includes=includes, load_ms=cold[name].load_ms, first_ms=cold[name].first_ms,
            kernels=kernels[name],
        )  # fmt: skip

    slowest = max(names, key=lambda name: float(np.median(compute[name].ns)))
    return BenchReport(
        host=telemetry.host(),
        rows=[row(name, compute[name], batch, COMPUTE) for name in names]
        + [row(name, whole[name], 1, END_TO_END) for name in names],
        cold=cold,
        slowest=slowest,
        speedups={name: latency.ratio(compute[slowest], compute[name]) for name in names if name != slowest},
    )


def lines(report: BenchReport) -> list[str]:
    """The report as plain text."""
    host = report.host
    isa = ", ".join(host.isa) or "no known ISA"
    out = [f"{host.device or host.cpu or host.arch} · {host.cores_usable} cores · {isa}"]
    out += [f"{'model':10} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'n':>7}  includes · verdict"]
    for row in report.rows:
        cells = " ".join(f"{_number(value):>9}" for value in (row.p50_ms, row.p90_ms, row.p99_ms))
        out.append(f"{row.precision:10} {cells} {row.n:7}  {row.includes} · {row.verdict}: {row.reason}")
    for name, times in report.speedups.items():
        interval = f"95 % interval {times.low:.2f} to {times.high:.2f}"
        out.append(f"{name} is {times.value:.2f}x as fast as {report.slowest} ({interval}), compute only")
    for name, value in report.cold.items():
        peak = "unknown" if value.peak_rss_bytes is None else f"{value.peak_rss_bytes / 2**20:.0f} MiB"
        parts = f"import {value.import_ms:.0f} + load {value.load_ms:.0f} + first image {value.first_ms:.1f} ms"
        out.append(f"{name} cold process: {parts}, {value.process_ms:.0f} ms in all, peak memory {peak}")
    for row in report.rows[: len(report.cold)]:
        kernels = ", ".join(f"{count} {name}" for name, count in row.kernels.items())
        out.append(f"{row.precision} ran batch {row.batch} on {row.threads} threads, {row.provider}: {kernels}")
    return out


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.Generator(np.random.Philox(0)).integers(0, 256, shape, dtype=np.uint8)


def _photo(bundle: Bundle) -> bytes:
    """An encoded image: the first golden one, or a 480 x 640 JPEG."""
    if GOLDEN in bundle.manifest["files"]:
        return golden.read(bundle.path / GOLDEN)["img_0"].tobytes()
    buffer = io.BytesIO()
    Image.fromarray(_noise((60, 80, 3))).resize((640, 480)).save(buffer, "JPEG")
    return buffer.getvalue()
