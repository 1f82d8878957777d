"""The plan for a thousand GPUs: ImageNet-1k x 300 from class names, counted and measured.

    python -m benchmarks.scale_plan               # writes docs/scale.md; a minute, no weights

Amounts, FLOPs and bytes come from `compress build --dry-run`'s own functions with the default
settings, the overhead of workers from benchmarks/results/scaling.json. What is assumed is said so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import page
from compress.api import estimate, settings_for
from compress.budgets.variants import HOST
from compress.cost.estimate import StageEstimate
from compress.cost.networks import count_part
from compress.cost.published import published
from compress.engine.config import Settings
from compress.generate.shards import cut
from compress.label.pools import ImagePool
from runtime.host.telemetry import usable_cores

OUT = Path(__file__).parents[1] / "docs/scale.md"
# ruff: noqa: E501 (lines of the page hold figures)
CLASSES = 1000
DEVICE = "h100"
FLEETS = (1, 8, 64, 1000)
SPREAD = ("generate", "label")  # stages that workers share; the others run on one machine
# one interruption for 419 in 54 days on 16,384 GPUs: arXiv 2407.21783, section 3.3.4
GPU_HOURS_BETWEEN_FAILURES = 16_384 * 54 * 24 / 419
DOLLARS = 2.5  # of an H100 hour: an assumption, multiply
STORE_GB_S = 1.0  # that a machine reads from or writes to object storage: an assumption
LOADING_GB_S = 1.0  # of weights, from a disk or a cache on the network: an assumption
HALF = 2  # bytes of a weight
RAY, NONE = "Ray, 1 worker", "local"


@dataclass(frozen=True)
class Plan:
    """A stage that workers share.

    Attributes:
        spans: its tasks; a lost worker loses what it had made of one.
        hours: of one GPU.
        bytes: of its finished files.
    """

    stage: str
    amount: int
    unit: str
    spans: int
    hours: float
    bytes: int

    def wall_h(self, workers: int, overhead: float, load_s: float) -> float:
        """Hours on so many GPUs: the spans of the busiest, Ray's overhead, loading of models."""
        each = self.hours / self.spans
        return -(-self.spans // workers) * each * (1 + overhead) + load_s / 3600


def job() -> Settings:
    """The default build of a thousand class names."""
    names = [f"class {number}" for number in range(CLASSES)]
    return settings_for(classes=names, teacher="ViT-L-14/openai", generator="kandinsky-2.2")


def plans(settings: Settings, rows: list[StageEstimate]) -> Iterator[Plan]:
    """The stages that are shared."""
    for row in rows:
        if row.stage not in SPREAD:
            continue
        hours = next(time.seconds for time in row.times if time.device == DEVICE) / 3600
        images = CLASSES * settings.generate.per_class
        if row.stage == "generate":
            spans = len(cut(range(images), settings.generate.batch))
        else:
            nothing = np.broadcast_to(np.uint8(0), (images, 1, 1, 3))
            labels = np.zeros(images, np.int64)
            pool = ImagePool("synthetic", nothing, labels, settings.label.views)
            spans = len(pool.shards(settings.label.batch))
        yield Plan(row.stage, row.amount, row.unit, spans, hours, row.bytes)


def weights_gb() -> float:
    """Gigabytes of the generator's and the prior's networks in half precision."""
    parts = published()["kandinsky-2.2"]["parts"]
    edges = {"unet": 64, "movq": 64}
    params = sum(count_part(name, parts[name], edges.get(name, 0)).params for name in parts)
    return params * HALF / 1e9


def measured() -> tuple[float, float]:
    """Ray's overhead with one worker as a share, and how much faster two are than one."""
    record = json.loads((page.RESULTS / "scaling.json").read_text(encoding="utf-8"))
    total = {row["engine"]: row["total"] for row in record["speed"]}
    return total[RAY] / total[NONE] - 1, total[RAY] / total["Ray, 2 workers"]


def report() -> str:
    """The page."""
    settings = job()
    rows = estimate(settings, work_dir=Path("nowhere"))
    shared = list(plans(settings, rows))
    generate, label = shared
    overhead, two = measured()
    weights = weights_gb()
    joined = sum(plan.bytes for plan in shared) / 1e9
    serial = {
        "join": joined / STORE_GB_S / 60,
        "distill": minutes(rows, "distill", DEVICE),
        "quantize": minutes(rows, "quantize", HOST),
    }
    fleets = []
    for workers in FLEETS:
        loads = (weights / LOADING_GB_S, 0.0)  # the teacher is small beside the generator
        spread = [
            60 * plan.wall_h(workers, overhead, load_s)
            for plan, load_s in zip(shared, loads, strict=True)
        ]
        used = sum(spread) / 60 * workers
        fleets.append(
            (
                f"{workers:,}",
                *(f"{each:,.1f}" for each in (*spread, *serial.values())),
                f"{sum(spread) + sum(serial.values()):,.0f}",
                f"{used:,.1f}",
                f"{used / GPU_HOURS_BETWEEN_FAILURES:.1e}",
                f"{used * DOLLARS:,.0f}",
            )
        )
    header = "GPUs | generate | label | join | distill | quantize | all | GPU hours | failures | $"
    drawn = settings.generate
    return f"""# A thousand GPUs: ImageNet-1k x 300

Written by `python -m benchmarks.scale_plan`. Counted: images, tasks, FLOPs, bytes. Measured: what
workers cost ([scaling](../benchmarks/results/scaling.md)). Assumed, and marked so: the speed of a
GPU, of storage and of loading, the rate of failures, the price. None of it was run on such a fleet.

The job: {CLASSES:,} class names, {drawn.per_class} images each by `{drawn.generator}` at
{drawn.height} px in {drawn.steps} steps, {drawn.dtype}; {settings.label.views} views of each seen by
`{settings.teacher.name}`; student `{settings.distill.student}`.

    compress build --classes-file imagenet.txt --work-dir s3://BUCKET/imagenet \\
        --engine ray --address auto --task-gpus 1 --device cuda

Ways to start it: [Ray](scale/ray-cluster.yaml), [Kubernetes](scale/rayjob.yaml),
[SLURM](scale/array.sbatch).

## Tasks

{tasks(shared)}

A task is a span: whole batches, one file, no input but its number. Retries and duplicates end in
the same bytes; a lost worker loses a part of one task, a lost driver nothing that was made.

## Minutes, by the number of GPUs

{page.table(header, fleets)}

H100, assumed at 40 % of its peak. Each worker loads {weights:.1f} GB of the generator's weights, assumed at
{LOADING_GB_S:g} GB/s. Ray with one worker took {overhead:+.0%} of the time of no Ray, which is added; two workers
were {two:.2f}× as fast as one. Join: the driver reads what was made, assumed at {STORE_GB_S:g} GB/s. Distill:
one GPU. Quantize: the driver's cores, here {usable_cores()} of {page.cpu()} at 25 % of their peak, assumed. Failures are those expected, one
in {GPU_HOURS_BETWEEN_FAILURES:,.0f} GPU hours (arXiv 2407.21783: 419 in 54 days on 16,384 GPUs). {DOLLARS:g} $ an hour is an assumption.

## What breaks first

1. **Quantization.** It runs on the driver's cores, whatever the fleet: {serial["quantize"]:,.0f} minutes on two of
   them. Give the driver 16, or `--set quantize.mode=ptq`, which trains nothing.
2. **Training and joining** take one machine each, {serial["distill"]:.1f} and {serial["join"]:.1f} minutes; beyond 64 GPUs they
   outlast the images. Training takes several GPUs of one machine with `torchrun`.
3. **Loading.** 1,000 workers read {weights:.0f} TB of weights. Bake them into the image.
4. **The tail.** {generate.spans:,} tasks on 1,000 GPUs are {generate.spans / 1000:.1f} each: {-generate.spans % 1000} wait in the last round.
   `--set generate.batch` decides the size of a task.
5. **Disk of the driver.** {joined:.0f} GB of spans, and as much again while they are joined. Rendered views
   of all {label.amount:,} would take {label.amount * settings.image.size**2 * 3 / 1e9:.0f} GB; beyond `host.cache_mb` they are rendered at every use.
6. **Differing cards.** A worker whose versions, card or arithmetic differ from the first's is
   refused; `--mixed-fleet` accepts it and the report says so.
"""


def tasks(shared: Sequence[Plan]) -> str:
    """The table of the stages that are shared."""
    return page.table(
        "stage | what | tasks | a task | bytes",
        (
            (
                plan.stage,
                f"{plan.amount:,} {plan.unit}",
                f"{plan.spans:,}",
                f"{plan.hours * 3600 / plan.spans:.1f} s",
                f"{plan.bytes / 1e9:.0f} GB",
            )
            for plan in shared
        ),
    )


def minutes(rows: list[StageEstimate], stage: str, device: str) -> float:
    """Of a stage on one machine."""
    row = next(row for row in rows if row.stage == stage)
    return next(time.seconds for time in row.times if time.device == device) / 60


def main() -> None:
    """Writes the page."""
    parser = page.options("scale_plan", __doc__)
    parser.set_defaults(out=OUT)
    page.write(parser.parse_args().out, report())


if __name__ == "__main__":
    main()
