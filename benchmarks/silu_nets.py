"""Question: what makes a SiLU or squeeze-excite network fast on this CPU: int8, its ReLU twin, or
another engine?

    python -m benchmarks.silu_nets [--openvino PYTHON]

Each network with its own activations and as its ReLU twin (timm's ``act_layer``), in fp32 and int8,
alternates in one process, one thread. ``--openvino`` names the Python of an environment with numpy,
Pillow and onnxruntime-openvino (it cannot live beside onnxruntime): the same files are then timed
there too, in a run of its own, with fp32 on onnxruntime's CPU kernels as the link between the two.
Random weights. What is fastest is what the page recommends, whichever it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from runtime.backends import load
from runtime.bench import latency
from runtime.host import telemetry

RESULTS = Path(__file__).parent / "results"
SIZE = 224
NETS = ("efficientnet_b0", "mobilenetv3_small_100")
CPU, OPENVINO = "CPUExecutionProvider", "OpenVINOExecutionProvider"
LINK = "own fp32"  # timed in both environments


def make(folder: Path) -> dict[str, dict[str, str]]:
    """Network -> variant -> file, e.g. "relu int8"."""
    from torch import nn

    from benchmarks.int8_speed import make_files

    out: dict[str, dict[str, str]] = {}
    for net in NETS:
        for twin, options in (("own", {}), ("relu", {"act_layer": nn.ReLU})):
            place = folder / twin
            place.mkdir(exist_ok=True)
            files = make_files(net, place, **options)["files"]
            out.setdefault(net, {}).update(
                {f"{twin} {precision}": str(file) for precision, file in files.items()}
            )
    return out


def race(files: Mapping[str, str], provider: str, seconds: float) -> list[dict[str, Any]]:
    """One network's variants interleaved on ``provider``; elsewhere than on the CPU kernels the
    link runs beside them.
    """
    runs = {(variant, provider): file for variant, file in files.items()}
    runs[LINK, CPU] = files[LINK]
    image = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    runners = {
        key: load("onnxruntime", Path(file), threads=1, provider=key[1], spinning=False)
        for key, file in runs.items()
    }
    names = {"·".join(key): key for key in runs}
    series = latency.measure(
        {name: partial(runners[key].run, image) for name, key in names.items()}, seconds
    )
    base = series["·".join((LINK, CPU))]
    return [
        {
            "variant": variant,
            "provider": ran_on,
            "p50_ms": series[name].percentile_ms(50.0),
            "n": series[name].n,
            "verdict": latency.verdict(series[name]).stamp,
            "speedup": latency.ratio(base, series[name]).to_json(),
        }
        for name, (variant, ran_on) in names.items()
    ]


def elsewhere(
    python: str, files: Mapping[str, Mapping[str, str]], seconds: float
) -> dict[str, list[dict[str, Any]]]:
    """The same files on OpenVINO, in the environment of another Python."""
    order = json.dumps({"files": files, "seconds": seconds})
    done = subprocess.run(
        [python, "-m", "benchmarks.silu_nets", "--child"],
        input=order,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise SystemExit(f"{python} could not time OpenVINO: {done.stderr.strip()[-400:]}")
    rows: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def markdown(record: Mapping[str, Any]) -> str:
    """The record for people: a table and what is fastest."""
    lines = [
        "# SiLU and squeeze-excite networks: int8, ReLU twin, or another engine\n",
        f"`{record['command']}`\n",
        "| network | activations | file | provider | p50, ms | times own fp32 (95 % CI) | stamp |",
        "|---|---|---|---|---|---|---|",
    ]
    best = []
    for net, rows in record["rows"].items():
        for row in rows:
            twin, precision = row["variant"].split()
            low, high = row["speedup"]["ci95"]
            lines.append(
                f"| {net} | {twin} | {precision} | "
                f"{row['provider'].removesuffix('ExecutionProvider')} | {row['p50_ms']:.2f} "
                f"| {row['speedup']['p50']:.2f}× ({low:.2f}–{high:.2f}) | {row['verdict']} |"
            )
        top = max(rows, key=lambda row: row["speedup"]["p50"])
        best.append(
            f"{net}: {top['variant']} on {top['provider'].removesuffix('ExecutionProvider')}"
        )
    lines.append(
        f"\nFastest: {'; '.join(best)}. Batch 1, {SIZE} px, 1 thread, random weights; "
        f"{record['host']['cpu']}. Rows of OpenVINO "
        "were timed in a process of their own; each is compared with onnxruntime's fp32 of "
        "its own run.\n"
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measures and writes ``silu_nets.json`` and ``silu_nets.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--openvino", metavar="PYTHON", help="python of an environment with onnxruntime-openvino"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="per network and environment")
    parser.add_argument("--out", type=Path, default=RESULTS / "silu_nets.json")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        order = json.loads(sys.stdin.read())
        print(
            json.dumps(
                {
                    net: race(files, OPENVINO, order["seconds"])
                    for net, files in order["files"].items()
                }
            )
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        files = make(Path(folder))
        rows = {net: race(variants, CPU, options.seconds) for net, variants in files.items()}
        if options.openvino:
            for net, more in elsewhere(options.openvino, files, options.seconds).items():
                rows[net] += [row for row in more if row["provider"] != CPU]
    command = "python -m benchmarks.silu_nets" + (" --openvino PYTHON" if options.openvino else "")
    record = {"command": command, "host": asdict(telemetry.host()), "rows": rows}
    options.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    options.out.with_suffix(".md").write_text(markdown(record))
    print(markdown(record))


if __name__ == "__main__":
    main()
