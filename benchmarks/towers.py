"""Claim: students are hundreds of times faster than the teacher, and faster than small CLIPs.

    python -m benchmarks.towers      # about ten minutes, 6 GB of memory for ViT-L/14's export

Image towers with a head of 100 classes, all through the same runtime and settings in one
interleaved run: our students in the best files for this machine, TinyCLIP-8M- and
MobileCLIP-S0-class towers, CLIP ViT-B/32 and the teacher ViT-L/14. Random weights: time, size and
memory do not depend on them. Load time and peak memory are those of a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import page
from benchmarks.int8_speed import CLASSES, SIZE, make_files, pictures
from compress.engine.seeds import manual_seed
from compress.teacher.artifact import Head, Heads
from export.bundle.write import copy_with_metadata
from export.onnx.convert import save
from export.teacher.network import OUTPUTS, TeacherClassifier, teacher_to_onnx
from runtime import PreprocessSpec
from runtime.backends import load
from runtime.bench import latency
from runtime.bench.cold import measure_cold
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS
from runtime.host import telemetry

TEACHER = "CLIP ViT-L/14"
#: smallest accepted speed-up over the teacher
FACTORS = {("mobilenetv4_conv_small", "int8"): 500.0, ("efficientnet_b0", "fp32"): 100.0}
SPEC = PreprocessSpec(
    size=SIZE,
    resize=256,
    interpolation="bicubic",
    mean=(0.481, 0.458, 0.408),
    std=(0.269, 0.261, 0.276),
)
STUDENTS = (  # timm name, precisions timed: both where int8 can pay
    ("mobilenetv3_small_100", ("fp32",)),
    ("mobilenetv4_conv_small", ("fp32", "int8")),
    ("mobilenetv4_conv_medium", ("fp32", "int8")),
    ("resnet18", ("fp32", "int8")),
    ("efficientnet_b0", ("fp32", "int8")),
)


@dataclass(frozen=True)
class RaceFile:
    """One file in the race.

    Attributes:
        kind: "student", "small CLIP", "CLIP" or "teacher".
        params: of the tower and a head of 100 classes.
    """

    name: str
    kind: str
    precision: str
    params: int
    file: Path


Row = Mapping[str, Any]
HEADER = (
    "model | what | file | params | MB | p50, ms | times the teacher (95 % CI) | load, ms "
    "| peak memory, MiB | stamp"
)


def vit(width: int, layers: int, patch: int, embed: int, head_width: int = 64) -> nn.Module:
    """open_clip's image tower ``(B, 3, 224, 224) -> (B, embed)``."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(
        layers=layers, width=width, patch_size=patch, image_size=SIZE, head_width=head_width
    )
    text = CLIPTextCfg(layers=1, width=64, heads=1, vocab_size=64, context_length=8)  # not used
    return CLIP(embed, vision, text).visual


def mobileclip_s0() -> nn.Module:
    """The tower of MobileCLIP-S0, its branches merged for inference."""
    import timm
    from timm.utils.model import reparameterize_model

    model = timm.create_model("fastvit_mci0", pretrained=False, num_classes=512)
    return reparameterize_model(model.eval())


#: name -> kind, width of its embedding, what makes it
TOWERS: dict[str, tuple[str, int, Callable[[], nn.Module]]] = {
    "TinyCLIP ViT-8M/16 class": ("small CLIP", 512, partial(vit, 256, 10, 16, 512)),
    "MobileCLIP-S0 class": ("small CLIP", 512, mobileclip_s0),
    "CLIP ViT-B/32": ("CLIP", 512, partial(vit, 768, 12, 32, 512)),
    TEACHER: ("teacher", 768, partial(vit, 1024, 24, 14, 768)),
}


def describe(source: Path, precision: str) -> Path:
    """The file with labels and preprocessing inside, so that a process can load it alone."""
    target = source.with_name(f"described.{source.name}")
    labels = json.dumps([f"class {index}" for index in range(CLASSES)])
    spec = json.dumps(SPEC.to_json(), sort_keys=True)
    metadata = {META_LABELS: labels, META_PREPROCESS: spec, META_PRECISION: precision}
    copy_with_metadata(source, target, metadata)
    source.unlink()
    return target


def tower_file(name: str, folder: Path) -> RaceFile:
    """An image tower with a text head of 100 classes as fp32 ONNX."""
    kind, width, make = TOWERS[name]
    manual_seed(0, "towers", name)
    tower = make().eval()
    rows = nn.functional.normalize(torch.randn(2, CLASSES, width), dim=-1).numpy()
    model = TeacherClassifier(tower, Heads((Head(rows[0], rows[1], 100.0),)))
    params = sum(p.numel() for p in tower.parameters()) + rows[0].size
    target = folder / f"{name.replace(' ', '_').replace('/', '_')}.onnx"
    file = save(teacher_to_onnx(model, SIZE), target)
    return RaceFile(name, kind, "fp32", params, describe(file, "fp32"))


def student_files(name: str, precisions: tuple[str, ...], folder: Path) -> list[RaceFile]:
    """A timm student through a build's own export, in each precision."""
    import timm

    files = make_files(name, folder)["files"]
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    params = sum(p.numel() for p in model.parameters())
    return [RaceFile(name, "student", key, params, describe(files[key], key)) for key in precisions]


def race(files: list[RaceFile], seconds: float, threads: int) -> list[Row]:
    """Every file interleaved, batch 1, compute only; then each in a cold process of its own."""
    image = pictures(1).numpy().astype(np.float32)
    calls = {
        entry.file.name: partial(
            load("onnxruntime", entry.file, threads=threads, spinning=False).run, image, OUTPUTS[0]
        )
        for entry in files
    }
    series = latency.measure(calls, seconds)
    calls.clear()  # frees the engines before the cold starts
    slow = next(series[entry.file.name] for entry in files if entry.name == TEACHER)
    rows = []
    for entry in files:
        samples = series[entry.file.name]
        cold = measure_cold(entry.file, threads=threads)
        rows.append(
            {
                **{key: value for key, value in vars(entry).items() if key != "file"},
                "size_bytes": entry.file.stat().st_size,
                "p50_ms": samples.percentile_ms(50.0),
                "p90_ms": samples.percentile_ms(90.0),
                "n": samples.n,
                "verdict": latency.verdict(samples).stamp,
                "speedup": latency.ratio(slow, samples).to_json(),
                "cold": {key: value for key, value in vars(cold).items() if key != "heavy_modules"},
            }
        )
    return sorted(rows, key=lambda row: row["p50_ms"])


def missed(rows: list[Row]) -> list[str]:
    """The speed-ups below the claim."""
    factors = {(row["name"], row["precision"]): row["speedup"]["p50"] for row in rows}
    return [
        f"{name} {precision}: {factors[name, precision]:.0f}x, claimed {least:.0f}x"
        for (name, precision), least in FACTORS.items()
        if factors[name, precision] < least
    ]


def markdown(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    return f"""# Students, small CLIPs and the teacher side by side

`{record["command"]}`

{page.table(HEADER, map(cells, record["rows"]))}

Batch 1, {SIZE} px, {record["threads"]} thread, one interleaved run, compute only, random weights; \
{record["host"]["cpu"]}, onnxruntime {record["onnxruntime"]}. Load and memory: a process of its \
own that classifies one image.
{"; ".join(record["missed"]) or "Every claimed factor is reached"}.
"""


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    memory = row["cold"]["peak_rss_bytes"]
    return (
        row["name"],
        row["kind"],
        row["precision"],
        f"{row['params'] / 1e6:.1f} M",
        f"{row['size_bytes'] / 1e6:.1f}",
        f"{row['p50_ms']:.2f}",
        page.interval(row["speedup"]["p50"], row["speedup"]["ci95"], 1),
        f"{row['cold']['load_ms']:.0f}",
        "–" if memory is None else f"{memory / 2**20:.0f}",
        row["verdict"],
    )


def main(arguments: list[str] | None = None) -> int:
    """Measures, writes ``towers.json`` and ``towers.md``; exit code 1 if a claim is missed."""
    parser = page.options("towers", __doc__, "towers.json")
    parser.add_argument("--seconds", type=float, default=120.0, help="for all together")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        files = [tower_file(name, Path(folder)) for name in TOWERS]
        for name, precisions in STUDENTS:
            files += student_files(name, precisions, Path(folder))
        rows = race(files, options.seconds, options.threads)
    given = sys.argv[1:] if arguments is None else arguments
    record = {
        "command": " ".join(["python -m benchmarks.towers", *given]),
        "host": asdict(telemetry.host()),
        "onnxruntime": onnxruntime.__version__,
        "threads": options.threads,
        "rows": rows,
        "missed": missed(rows),
    }
    page.write_record(options.out, record, markdown(record))
    return int(bool(record["missed"]))


if __name__ == "__main__":
    raise SystemExit(main())
