"""What the runtime saves an app that only classifies: cold process to first label, against torch.

    python -m benchmarks.cold_torch IMAGE [--model mobilenetv4_conv_small]

The torch side is the script that one would write: import torch and timm, create the model, load
safetensors, timm's own transform, softmax. The runtime side loads the same weights as one
self-describing ONNX file. The processes alternate; every repetition is a new process on both sides,
with the files in the page cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import page
from runtime import PreprocessSpec
from runtime.bench.cold import measure_cold
from runtime.host import telemetry

SIZE = 224
CLASSES = 100
SCRIPT = """
import json, sys, time
start = time.perf_counter()
import timm, torch
from PIL import Image
from safetensors.torch import load_file
imported = time.perf_counter()
torch.set_num_threads(1)
model = timm.create_model(sys.argv[1], num_classes=int(sys.argv[2])).eval()
model.load_state_dict(load_file(sys.argv[3]))
config = timm.data.resolve_data_config({"input_size": (3, 224, 224)}, model=model)
transform = timm.data.create_transform(**config)
loaded = time.perf_counter()
with torch.inference_mode():
    probabilities = model(transform(Image.open(sys.argv[4]).convert("RGB"))[None]).softmax(1)
label = int(probabilities.argmax())
done = time.perf_counter()
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"import_ms": 1e3 * (imported - start), "load_ms": 1e3 * (loaded - imported),
                  "first_ms": 1e3 * (done - loaded), "peak_rss_bytes": int(peak) * 1024,
                  "label": label}))
"""
#: row of the table -> key of a run
PARTS = {
    "import, ms": "import_ms",
    "load the model, ms": "load_ms",
    "first image, ms": "first_ms",
    "whole process, ms": "process_ms",
}
Run = Mapping[str, Any]


def make(model_name: str, folder: Path) -> tuple[Path, Path]:
    """The same random weights as a safetensors file and as a self-describing ONNX file."""
    import timm
    import torch
    from safetensors.torch import save_file

    from export.bundle.write import copy_with_metadata
    from export.onnx.convert import save, to_onnx
    from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS

    torch.manual_seed(0)
    model = timm.create_model(model_name, num_classes=CLASSES).eval()
    config = timm.data.resolve_data_config({"input_size": (3, SIZE, SIZE)}, model=model)
    spec = PreprocessSpec(
        size=SIZE,
        resize=round(SIZE / config["crop_pct"]),
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
    )
    save_file(model.state_dict(), folder / "model.safetensors")
    plain = save(to_onnx(model, SIZE), folder / "plain.onnx")
    described = {
        META_LABELS: json.dumps([f"class {index}" for index in range(CLASSES)]),
        META_PREPROCESS: json.dumps(spec.to_json(), sort_keys=True),
        META_PRECISION: "fp32",
    }
    copy_with_metadata(plain, folder / "model.onnx", described)
    return folder / "model.safetensors", folder / "model.onnx"


def torch_side(model_name: str, weights: Path, image: Path) -> Run:
    """One new process of the torch script."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, model_name, str(CLASSES), str(weights), str(image)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    process_ms = (time.perf_counter() - start) * 1e3
    return {**json.loads(done.stdout.splitlines()[-1]), "process_ms": process_ms}


def table(sides: Mapping[str, Sequence[Run]]) -> str:
    """Medians of both sides and how many times less the runtime takes."""
    ours = sides["runtime"]
    theirs = sides["torch + timm"]
    medians = {
        label: [median(run[key] for run in runs) for runs in (ours, theirs)]
        for label, key in PARTS.items()
    }
    if all(run["peak_rss_bytes"] for run in ours):
        medians["peak memory, MiB"] = [
            median(run["peak_rss_bytes"] / 2**20 for run in runs) for runs in (ours, theirs)
        ]
    rows = [(label, f"{a:.0f}", f"{b:.0f}", f"{b / a:.1f}×") for label, (a, b) in medians.items()]
    return page.table("part | runtime | torch + timm | times less", rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes ``cold_torch.md``."""
    parser = page.options("cold_torch", __doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", default="mobilenetv4_conv_small", help="a timm name")
    parser.add_argument("-n", type=int, default=7, help="processes of each side (default 7)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        weights, onnx = make(options.model, Path(folder))
        sides: dict[str, Callable[[], Run]] = {
            "runtime": lambda: vars(measure_cold(onnx, threads=1, image=options.image)),
            "torch + timm": lambda: torch_side(options.model, weights, options.image),
        }
        for side in sides.values():
            side()  # not counted: the files are in the page cache afterwards
        runs: dict[str, list[Run]] = {name: [] for name in sides}
        for _ in range(options.n):
            for name, side in sides.items():
                runs[name].append(side())
    text = f"""# Cold process to first label, against torch and timm

`python -m benchmarks.cold_torch {options.image.name} --model {options.model} -n {options.n}`

{table(runs)}

Medians of {options.n} processes each, alternating, one thread, the same {options.model} weights \
at {SIZE} px; {telemetry.host().cpu}, numpy {np.__version__}.
"""
    page.write(options.out, text)


if __name__ == "__main__":
    main()
