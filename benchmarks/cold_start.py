"""From a cold process to the first label: time and peak memory of the runtime with a bundle.

    python -m benchmarks.cold_start BUNDLE IMAGE

Every repetition is a new process that imports ``runtime``, loads the bundle, classifies one image
and ends. It fails if such a process has loaded torch, typer or anything else that is not needed on
a device.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from runtime.bench.cold import Cold, measure_cold
from runtime.host import telemetry

RESULTS = Path(__file__).parent / "results"


def table(runs: Sequence[Cold]) -> str:
    """Minimum, median and maximum of each part over the repetitions."""
    lines = ["| part | min | median | max |", "|---|---|---|---|"]
    parts = (
        ("import runtime", "import_ms"),
        ("load the bundle", "load_ms"),
        ("first image", "first_ms"),
        ("whole process", "process_ms"),
    )
    for label, name in parts:
        values = [getattr(run, name) for run in runs]
        lines.append(
            f"| {label}, ms | {min(values):.1f} | {median(values):.1f} | {max(values):.1f} |"
        )
    memory = [run.peak_rss_bytes / 2**20 for run in runs if run.peak_rss_bytes]
    if memory:
        lines.append(
            f"| peak memory, MiB | {min(memory):.1f} | {median(memory):.1f} | {max(memory):.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cold_start", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("-n", type=int, default=11, help="processes (default 11)")
    parser.add_argument("--out", type=Path, default=RESULTS / "cold_start.md")
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
{telemetry.host().cpu or platform.machine()}; no torch, no typer loaded.
"""
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
