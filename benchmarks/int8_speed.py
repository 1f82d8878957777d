"""Claim: int8 pays on this CPU for ReLU networks, and the verdict for SiLU networks is fp32.

    python -m benchmarks.int8_speed --out benchmarks/results/int8_speed.json

Each timm student (random weights at 224, batch statistics settled and ranges calibrated on noise:
accuracy is meaningless here, kernels and times are not) goes through the same capture, preparation,
conversion and rewrite as a build. fp32 and int8 then alternate in one process. Quantized kernels
are counted from onnxruntime's profile. Rows that miss their goal are kept and marked.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compress.engine.seeds import manual_seed, torch_rng
from compress.quantize.graph import convert, prepare
from compress.quantize.scales import calibrate, fake_quantizers, set_observers
from export.onnx.convert import save, to_onnx
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import tensorrt_ready
from runtime.backends import BACKENDS, load
from runtime.backends.onnxruntime import quantized_kernels
from runtime.bench import latency
from runtime.host import telemetry

SIZE, CLASSES = 224, 100
MODELS = ("mobilenetv4_conv_small", "mobilenetv4_conv_medium", "resnet18", "efficientnet_b0")
GOALS = {"mobilenetv4_conv_small": 1.5, "mobilenetv4_conv_medium": 2.0, "resnet18": 2.0}
"""Smallest accepted fp32/int8 ratio of medians, one thread; other students have no goal."""
WORTH_IT = 1.5
"""int8 is the default file only if it is this much faster than fp32 on a CPU."""


def pictures(count: int) -> Tensor:
    """Smooth noise ``(count, 3, 224, 224)``."""
    rng = torch_rng(0, "int8_speed")
    coarse = nn.functional.interpolate(
        torch.randn(count, 3, 8, 8, generator=rng), size=(SIZE, SIZE), mode="bicubic"
    )
    return coarse + 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=rng)


def make_files(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Writes fp32 and uint8 ONNX files of a timm student; returns their paths and how long each
    step took.

    ``options`` are for timm, e.g. ``act_layer=nn.ReLU``.
    """
    import timm

    manual_seed(0, "int8_speed", name)
    seconds: dict[str, float] = {}
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES, **options).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    images = pictures(32)
    with torch.no_grad():
        for _ in range(3):
            model(images[:16])
    model.eval()

    start = time.perf_counter()
    prepared = prepare(model, images)
    seconds["prepare_s"] = time.perf_counter() - start
    calibrate(prepared, images)
    set_observers(prepared, observe=False, quantize=True)
    start = time.perf_counter()
    int8 = to_onnx(convert(prepared), SIZE)
    seconds["export_s"] = time.perf_counter() - start
    files = {
        "fp32": save(to_onnx(model, SIZE), folder / f"{name}.fp32.onnx"),
        "int8": save(to_uint8(int8), folder / f"{name}.int8.onnx"),
    }
    return {
        "files": files,
        "fake_quantizers": len(fake_quantizers(prepared)),
        "tensorrt_violations": tensorrt_ready(int8),
        **{key: round(value, 2) for key, value in seconds.items()},
    }


def measure(name: str, threads: int, made: dict[str, Any], seconds: float) -> dict[str, Any]:
    """One row: fp32 and int8 alternating on ``threads`` threads, batch 1, compute only."""
    image = pictures(1).numpy()
    runners = {
        precision: load("onnxruntime", path, threads=threads, spinning=False)
        for precision, path in made["files"].items()
    }
    calls = {
        precision: (lambda runner=runner: runner.run(image))
        for precision, runner in runners.items()
    }
    series = latency.measure(calls, seconds)
    ratio = latency.ratio(series["fp32"], series["int8"])
    kernels = quantized_kernels(made["files"]["int8"], SIZE)
    goal = GOALS.get(name) if threads == 1 else None
    return {
        "model": name,
        "threads": threads,
        "p50_ms": {precision: samples.percentile_ms(50.0) for precision, samples in series.items()},
        "n": {precision: samples.n for precision, samples in series.items()},
        "speedup": ratio.to_json(),
        "goal": goal,
        "goal_met": None if goal is None else ratio.p50 >= goal,
        "verdict": "int8" if ratio.ci95[0] >= WORTH_IT else "fp32",
        "stamp": {
            precision: latency.verdict(samples).stamp for precision, samples in series.items()
        },
        "size_bytes": {precision: path.stat().st_size for precision, path in made["files"].items()},
        "is_quantized": BACKENDS["onnxruntime"].is_quantized(kernels),
        "kernels": kernels,
        **{key: value for key, value in made.items() if key != "files"},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes JSON; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help="timm names, comma-separated")
    parser.add_argument("--threads", default="1,2", help="thread counts, comma-separated")
    parser.add_argument("--seconds", type=float, default=10.0, help="per model and thread count")
    parser.add_argument("--out", type=Path, default=None, help="JSON file for the rows")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            made = make_files(name, Path(folder))
            for threads in map(int, options.threads.split(",")):
                rows.append(measure(name, threads, made, options.seconds))
                print(table_row(rows[-1]), flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        given = sys.argv[1:] if arguments is None else arguments
        record = {
            "command": " ".join(["python -m benchmarks.int8_speed", *given]),
            "host": asdict(telemetry.host()),
            "torch": torch.__version__,
            "rows": rows,
        }
        options.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        options.out.with_suffix(".md").write_text(markdown(record))
    return int(any(row["goal_met"] is False for row in rows))


def markdown(record: dict[str, Any]) -> str:
    """The record for people: one table."""
    lines = [
        f"# int8 against fp32 in onnxruntime at {SIZE} px\n\n`{record['command']}`\n",
        "| student | threads | fp32 p50, ms | int8 p50, ms | speed-up (95 % CI) | better "
        "file | stamp | integer kernels |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        low, high = row["speedup"]["ci95"]
        ran = sum(
            count
            for kernel, count in row["kernels"].items()
            if kernel.startswith(("QLinear", "QGemm"))
        )
        lines.append(
            f"| {row['model']} | {row['threads']} | {row['p50_ms']['fp32']:.2f} | "
            f"{row['p50_ms']['int8']:.2f} | "
            f"{row['speedup']['p50']:.2f}× ({low:.2f}–{high:.2f}) | {row['verdict']} | "
            f"{row['stamp']['int8']} | {ran} |"
        )
    lines.append(
        "\nBatch 1, interleaved, random weights (time does not depend on them); "
        f"{record['host']['cpu']}.\n"
    )
    return "\n".join(lines)


def table_row(row: dict[str, Any]) -> str:
    """One line for people."""
    goal = (
        ""
        if row["goal"] is None
        else f"  goal {row['goal']}x {'met' if row['goal_met'] else 'MISSED'}"
    )
    low, high = row["speedup"]["ci95"]
    fp32, int8 = (row["p50_ms"][precision] or float("nan") for precision in ("fp32", "int8"))
    return (
        f"{row['model']:<26} {row['threads']} thread(s)  fp32 {fp32:7.2f} ms  int8 {int8:7.2f} ms  "
        f"{row['speedup']['p50']:.2f}x [{low:.2f}, {high:.2f}]  ship {row['verdict']}  "
        f"{row['stamp']['int8']}{goal}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
