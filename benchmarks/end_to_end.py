"""Claim: from a JPEG to labels costs hardly more than decoding it and running the network.

    python -m benchmarks.end_to_end IMAGE BUNDLE...

``Classifier.predict`` on the encoded image, against Pillow's decoding plus one bare session run on
a tensor that is ready: both interleaved, one thread. What lies between the two is resize, crop,
    normalization, softmax and our own code.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime import Classifier, normalize
from runtime.bench import latency
from runtime.host import telemetry

RESULTS = Path(__file__).parent / "results"
LIMIT = 1.15


def measure(bundle: Path, photo: bytes, precision: str, seconds: float) -> dict[str, Any]:
    """Both sides on one model; the ratio is predict over decode + run."""
    classifier = Classifier.load(bundle, precision, threads=1)
    tensor = normalize(classifier.pixels([photo]), classifier.spec)

    def bare() -> np.ndarray:
        np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
        return classifier.runner.run(tensor)

    series = latency.measure(
        {
            "whole": partial(classifier.predict, photo),
            "bare": bare,
            "run": partial(classifier.runner.run, tensor),
        },
        seconds,
    )
    return {
        "model": f"{bundle.resolve().parent.name}/{bundle.name}",
        "precision": classifier.precision,
        "size": classifier.spec.size,
        "p50_ms": {name: samples.percentile_ms(50.0) for name, samples in series.items()},
        "ratio": latency.ratio(series["whole"], series["bare"]),
        "verdict": latency.verdict(series["whole"]).stamp,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One row a model."""
    lines = [
        "| model | file | input, px | predict p50, ms | decode + run p50, ms | run alone, ms "
        "| ratio (95 % CI) | stamp |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ms, ratio = row["p50_ms"], row["ratio"]
        lines.append(
            f"| {row['model']} | {row['precision']} | {row['size']} | {ms['whole']:.3f} | "
            f"{ms['bare']:.3f} | {ms['run']:.3f} "
            f"| {ratio.p50:.2f}× ({ratio.ci95[0]:.2f}–{ratio.ci95[1]:.2f}) | {row['verdict']} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes ``end_to_end.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--seconds", type=float, default=10.0, help="per model")
    parser.add_argument("--out", type=Path, default=RESULTS / "end_to_end.md")
    options = parser.parse_args(arguments)
    photo = options.image.read_bytes()
    rows = [
        measure(b, photo, precision, options.seconds)
        for b in options.bundles
        for precision in options.precisions
    ]
    with Image.open(options.image) as opened:
        about = f"{opened.format} of {opened.width} × {opened.height} pixels"
    above = [f"{row['model']} {row['precision']}" for row in rows if row["ratio"].p50 > LIMIT]
    names = " ".join(str(bundle.name) for bundle in options.bundles)
    text = (
        "# From an encoded image to labels\n\n`python -m benchmarks.end_to_end "
        f"{options.image.name} {names}`\n\n"
        f"{table(rows)}\n\n"
        f"{about}, one thread, interleaved; {telemetry.host().cpu}. Limit {LIMIT}×: "
        f"{'missed by ' + ', '.join(above) if above else 'kept by every model'}.\n"
    )
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
