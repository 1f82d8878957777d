"""Question: what makes SiLU networks fast on this CPU: int8, a ReLU twin, or another engine?

    python -m benchmarks.silu_nets [--openvino PYTHON]

Each network with its own activations and as its ReLU twin (timm's ``act_layer``), in fp32 and int8,
alternates in one process, one thread. ``--openvino`` names the Python of an environment with numpy,
Pillow and onnxruntime-openvino (it cannot live beside onnxruntime): the same files are then timed
there too, in a run of its own, with fp32 on onnxruntime's CPU kernels as the link between the two.
Random weights. The page recommends the fastest variant, whichever it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from runtime.backends import load
from runtime.bench import latency
from runtime.host import telemetry

SIZE = 224
NETS = ("efficientnet_b0", "mobilenetv3_small_100")
CPU = "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
LINK = "own fp32"  # timed in both environments
HEADER = "network | activations | file | provider | p50, ms | times own fp32 (95 % CI) | stamp"
Row = Mapping[str, Any]


def make(folder: Path) -> dict[str, dict[str, str]]:
    """Network -> variant, e.g. "relu int8" -> file."""
    from torch import nn

    from benchmarks.int8_speed import make_files

    files: dict[str, dict[str, str]] = {net: {} for net in NETS}
    for net in NETS:
        for twin, options in (("own", {}), ("relu", {"act_layer": nn.ReLU})):
            (folder / twin).mkdir(exist_ok=True)
            for precision, file in make_files(net, folder / twin, **options)["files"].items():
                files[net][f"{twin} {precision}"] = str(file)
    return files


def race(files: Mapping[str, str], provider: str, seconds: float) -> list[Row]:
    """One network's variants interleaved on ``provider``, with the link on the CPU kernels."""
    runs = {(variant, provider): file for variant, file in files.items()}
    runs[LINK, CPU] = files[LINK]
    image = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    calls = {
        "·".join(key): partial(
            load("onnxruntime", Path(file), threads=1, provider=key[1], spinning=False).run, image
        )
        for key, file in runs.items()
    }
    series = latency.measure(calls, seconds)
    base = series[f"{LINK}·{CPU}"]
    return [
        {
            "variant": variant,
            "provider": provider,
            "p50_ms": samples.percentile_ms(50.0),
            "n": samples.n,
            "verdict": latency.verdict(samples).stamp,
            "speedup": latency.ratio(base, samples).to_json(),
        }
        for (variant, provider), samples in zip(runs, series.values(), strict=True)
    ]


def race_elsewhere(
    python: str, files: Mapping[str, Mapping[str, str]], seconds: float
) -> dict[str, list[Row]]:
    """The same files on OpenVINO, in the environment of another Python."""
    done = subprocess.run(
        [python, "-m", "benchmarks.silu_nets", "--child"],
        input=json.dumps({"files": files, "seconds": seconds}),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise SystemExit(f"{python} could not time OpenVINO: {done.stderr.strip()[-400:]}")
    rows: dict[str, list[Row]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def markdown(record: Mapping[str, Any]) -> str:
    """The page of a record: a table and the fastest variants."""
    table = page.table(
        HEADER, (cells(net, row) for net, rows in record["rows"].items() for row in rows)
    )
    best = [
        (net, max(rows, key=lambda row: row["speedup"]["p50"]))
        for net, rows in record["rows"].items()
    ]
    fastest = "; ".join(f"{net}: {row['variant']} on {short(row['provider'])}" for net, row in best)
    return f"""# SiLU and squeeze-excite networks: int8, ReLU twin, or another engine

`{record["command"]}`

{table}

Fastest: {fastest}. Batch 1, {SIZE} px, 1 thread, random weights; {record["host"]["cpu"]}. Rows of \
OpenVINO were timed in a process of their own; each is compared with onnxruntime's fp32 of its own \
run.
"""


def cells(net: str, row: Row) -> Sequence[object]:
    """A row of the table."""
    speedup = page.interval(row["speedup"]["p50"], row["speedup"]["ci95"])
    provider = short(row["provider"])
    p50 = f"{row['p50_ms']:.2f}"
    return net, *row["variant"].split(), provider, p50, speedup, row["verdict"]


def short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


def main(arguments: list[str] | None = None) -> None:
    """Measures and writes ``silu_nets.json`` and ``silu_nets.md``."""
    parser = page.options("silu_nets", __doc__, "silu_nets.json")
    parser.add_argument(
        "--openvino", metavar="PYTHON", help="python of an environment with onnxruntime-openvino"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="per network and environment")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        order = json.loads(sys.stdin.read())
        nets = order["files"].items()
        print(json.dumps({net: race(files, OPENVINO, order["seconds"]) for net, files in nets}))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = make(Path(folder))
        rows = {net: race(variants, CPU, options.seconds) for net, variants in files.items()}
        if options.openvino:
            for net, more in race_elsewhere(options.openvino, files, options.seconds).items():
                rows[net] += [row for row in more if row["provider"] != CPU]
    command = "python -m benchmarks.silu_nets" + (" --openvino PYTHON" if options.openvino else "")
    record = {"command": command, "host": asdict(telemetry.host()), "rows": rows}
    page.write_record(options.out, record, markdown(record))


if __name__ == "__main__":
    main()
