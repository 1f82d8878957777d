"""From a cold process to the first label: time and peak memory of the runtime with a bundle.

    python -m benchmarks.cold_start BUNDLE IMAGE

Every repetition is a new process that imports ``runtime``, loads the bundle, classifies one image
and ends. It fails if such a process loads torch, typer or anything else that a device does not
need.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import page
from runtime.bench.cold import Cold, measure_cold

#: row of the table -> field of a run
PARTS = {
    "import runtime, ms": "import_ms",
    "load the bundle, ms": "load_ms",
    "first image, ms": "first_ms",
    "whole process, ms": "process_ms",
}


def table(runs: Sequence[Cold]) -> str:
    """Minimum, median and maximum of each part over the repetitions."""
    series = {label: [getattr(run, name) for run in runs] for label, name in PARTS.items()}
    memory = [run.peak_rss_bytes / 2**20 for run in runs if run.peak_rss_bytes]
    if memory:
        series["peak memory, MiB"] = memory
    rows = [
        (label, *(f"{function(values):.1f}" for function in (min, median, max)))
        for label, values in series.items()
    ]
    return page.table("part | min | median | max", rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = page.options("cold_start", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("-n", type=int, default=11, help="processes (default 11)")
    options = parser.parse_args(arguments)
    measure_cold(options.bundle, image=options.image)  # the files are in the page cache afterwards
    runs = [measure_cold(options.bundle, image=options.image) for _ in range(options.n)]
    heavy = sorted({name for run in runs for name in run.heavy_modules})
    if heavy:
        raise SystemExit(f"a cold process loaded {', '.join(heavy)}")
    text = f"""# Cold process to first label

`python -m benchmarks.cold_start {options.bundle.name} {options.image.name} -n {options.n}`

{table(runs)}

{options.n} processes after one that was not counted (page cache warm),
{page.cpu()}; no torch, no typer loaded.
"""
    page.write(options.out, text)


if __name__ == "__main__":
    main()
