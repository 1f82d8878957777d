"""Claim: from a JPEG to labels costs hardly more than decoding it and running the network.

    python -m benchmarks.end_to_end IMAGE BUNDLE...

``Classifier.predict`` on the encoded image, against Pillow's decoding plus one bare session run on
a ready tensor: both interleaved, one thread. What lies between the two is resize, crop,
normalization, softmax and our own code.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import page
from runtime import Classifier, normalize
from runtime.bench import latency
from runtime.host import telemetry

LIMIT = 1.15
HEADER = (
    "model | file | input, px | predict p50, ms | decode + run p50, ms | run alone, ms "
    "| ratio (95 % CI) | stamp"
)
Row = Mapping[str, Any]


def measure(bundle: Path, photo: bytes, precision: str, seconds: float) -> Row:
    """Both sides on one model; the ratio is predict over decode + run."""
    classifier = Classifier.load(bundle, precision, threads=1)
    tensor = normalize(classifier.pixels([photo]), classifier.spec)

    def bare() -> np.ndarray:
        np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
        return classifier.runner.run(tensor)

    calls: dict[str, Callable[[], object]] = {
        "whole": partial(classifier.predict, photo),
        "bare": bare,
        "run": partial(classifier.runner.run, tensor),
    }
    series = latency.measure(calls, seconds)
    return {
        "model": f"{bundle.resolve().parent.name}/{bundle.name}",
        "precision": classifier.precision,
        "size": classifier.spec.size,
        "p50_ms": {name: samples.percentile_ms(50.0) for name, samples in series.items()},
        "ratio": latency.ratio(series["whole"], series["bare"]),
        "verdict": latency.verdict(series["whole"]).stamp,
    }


def cells(row: Row) -> tuple[object, ...]:
    """A row of the table."""
    times = (f"{row['p50_ms'][name]:.3f}" for name in ("whole", "bare", "run"))
    ratio = page.interval(row["ratio"].p50, row["ratio"].ci95)
    return row["model"], row["precision"], row["size"], *times, ratio, row["verdict"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes ``end_to_end.md``."""
    parser = page.options("end_to_end", __doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--seconds", type=float, default=10.0, help="per model")
    options = parser.parse_args(arguments)
    photo = options.image.read_bytes()
    rows = [
        measure(bundle, photo, precision, options.seconds)
        for bundle in options.bundles
        for precision in options.precisions
    ]
    with Image.open(options.image) as opened:
        about = f"{opened.format} of {opened.width} × {opened.height} pixels"
    above = [f"{row['model']} {row['precision']}" for row in rows if row["ratio"].p50 > LIMIT]
    verdict = f"missed by {', '.join(above)}" if above else "kept by every model"
    bundles = " ".join(bundle.name for bundle in options.bundles)
    text = f"""# From an encoded image to labels

`python -m benchmarks.end_to_end {options.image.name} {bundles}`

{page.table(HEADER, map(cells, rows))}

{about}, one thread, interleaved; {telemetry.host().cpu}. Limit {LIMIT}×: {verdict}.
"""
    page.write(options.out, text)


if __name__ == "__main__":
    main()
