"""Claim: int8 pays on this CPU for ReLU networks, and the verdict for SiLU networks is fp32.

    python -m benchmarks.int8_speed --out benchmarks/results/int8_speed.json

Each timm student (random weights at 224, batch statistics settled and ranges calibrated on noise:
accuracy is meaningless here, kernels and times are not) goes through the same capture, preparation,
conversion and rewrite as a build. fp32 and int8 then alternate in one process. Quantized kernels
are counted from onnxruntime's profile. Rows that miss their goal are kept and marked.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import page
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

SIZE = 224
CLASSES = 100
MODELS = ("mobilenetv4_conv_small", "mobilenetv4_conv_medium", "resnet18", "efficientnet_b0")
#: smallest accepted fp32/int8 ratio of medians, one thread; other students have no goal
GOALS = {"mobilenetv4_conv_small": 1.5, "mobilenetv4_conv_medium": 2.0, "resnet18": 2.0}
WORTH_IT = 1.5  # int8 is the default file only if it is this much faster than fp32 on a CPU
HEADER = (
    "student | threads | fp32 p50, ms | int8 p50, ms | speed-up (95 % CI) | better file | stamp "
    "| integer kernels"
)
Row = Mapping[str, Any]


def pictures(count: int) -> Tensor:
    """Smooth noise ``(count, 3, 224, 224)``."""
    rng = torch_rng(0, "int8_speed")
    coarse = nn.functional.interpolate(
        torch.randn(count, 3, 8, 8, generator=rng), size=(SIZE, SIZE), mode="bicubic"
    )
    return coarse + 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=rng)


def make_files(name: str, folder: Path, **options: Any) -> Mapping[str, Any]:
    """Writes fp32 and uint8 ONNX files of a timm student; returns paths and the time of each step.

    ``options`` are timm's, e.g. ``act_layer=nn.ReLU``.
    """
    import timm

    manual_seed(0, "int8_speed", name)
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
    prepare_s = time.perf_counter() - start
    calibrate(prepared, images)
    set_observers(prepared, observe=False, quantize=True)
    start = time.perf_counter()
    int8 = to_onnx(convert(prepared), SIZE)
    export_s = time.perf_counter() - start
    return {
        "files": {
            "fp32": save(to_onnx(model, SIZE), folder / f"{name}.fp32.onnx"),
            "int8": save(to_uint8(int8), folder / f"{name}.int8.onnx"),
        },
        "fake_quantizers": len(fake_quantizers(prepared)),
        "tensorrt_violations": tensorrt_ready(int8),
        "prepare_s": round(prepare_s, 2),
        "export_s": round(export_s, 2),
    }


def measure(name: str, threads: int, made: Mapping[str, Any], seconds: float) -> Row:
    """One row: fp32 and int8 alternating on ``threads`` threads, batch 1, compute only."""
    image = pictures(1).numpy()
    files = made["files"]
    runners = {
        precision: load("onnxruntime", path, threads=threads, spinning=False)
        for precision, path in files.items()
    }
    calls = {precision: partial(runner.run, image) for precision, runner in runners.items()}
    series = latency.measure(calls, seconds)
    ratio = latency.ratio(series["fp32"], series["int8"])
    kernels = quantized_kernels(files["int8"], SIZE)
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
        "stamp": {key: latency.verdict(samples).stamp for key, samples in series.items()},
        "size_bytes": {precision: path.stat().st_size for precision, path in files.items()},
        "is_quantized": BACKENDS["onnxruntime"].is_quantized(kernels),
        "kernels": kernels,
        **{key: value for key, value in made.items() if key != "files"},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table, writes JSON; exit code 1 when a goal is missed."""
    parser = page.options("int8_speed", __doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="timm names, comma-separated")
    parser.add_argument("--threads", default="1,2", help="thread counts, comma-separated")
    parser.add_argument("--seconds", type=float, default=10.0, help="per model and thread count")
    parser.set_defaults(out=None)
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            made = make_files(name, Path(folder))
            for threads in map(int, options.threads.split(",")):
                rows.append(measure(name, threads, made, options.seconds))
                print(line(rows[-1]), flush=True)
    if options.out:
        given = sys.argv[1:] if arguments is None else arguments
        record = {
            "command": " ".join(["python -m benchmarks.int8_speed", *given]),
            "host": asdict(telemetry.host()),
            "torch": torch.__version__,
            "rows": rows,
        }
        page.write_record(options.out, record, markdown(record))
    return int(any(row["goal_met"] is False for row in rows))


def markdown(record: Mapping[str, Any]) -> str:
    """The page of a record: one table."""
    return f"""# int8 against fp32 in onnxruntime at {SIZE} px

`{record["command"]}`

{page.table(HEADER, map(cells, record["rows"]))}

Batch 1, interleaved, random weights (time does not depend on them); {record["host"]["cpu"]}.
"""


def cells(row: Row) -> tuple[object, ...]:
    """A row of the table."""
    ran = {name: n for name, n in row["kernels"].items() if name.startswith(("QLinear", "QGemm"))}
    return (
        row["model"],
        row["threads"],
        *(f"{row['p50_ms'][precision]:.2f}" for precision in ("fp32", "int8")),
        page.interval(row["speedup"]["p50"], row["speedup"]["ci95"]),
        row["verdict"],
        row["stamp"]["int8"],
        sum(ran.values()),
    )


def line(row: Row) -> str:
    """A row for the terminal."""
    met = "met" if row["goal_met"] else "MISSED"
    goal = "" if row["goal"] is None else f"  goal {row['goal']}x {met}"
    low, high = row["speedup"]["ci95"]
    fp32, int8 = (row["p50_ms"][precision] or float("nan") for precision in ("fp32", "int8"))
    return (
        f"{row['model']:<26} {row['threads']} thread(s)  fp32 {fp32:7.2f} ms  int8 {int8:7.2f} ms  "
        f"{row['speedup']['p50']:.2f}x [{low:.2f}, {high:.2f}]  ship {row['verdict']}  "
        f"{row['stamp']['int8']}{goal}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
