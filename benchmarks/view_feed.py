"""Claim: kept views feed training at 224 px at 0.9 of the speed of a batch that lies in memory.

    python -m benchmarks.view_feed --work DIR

The same steps of the same student with three feeds, in turns: a batch that stays in memory, views
that were rendered before and are read (`WORK/views`), views rendered at every use. Beside them how
many views a core reads or renders in a second, and by arithmetic how many cores an H100 needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks import page
from compress.api import run_stages, settings_for, work_folder
from compress.cost.counting import TRAINING
from compress.cost.devices import trainers
from compress.cost.networks import count_student
from compress.distill.batches import Batch, Batches
from compress.distill.students import build, spec_for
from compress.engine.config import HostSettings, Settings
from compress.engine.progress import RichProgress
from compress.engine.stage import StageContext
from compress.stages import STAGES

EDGE, BATCH, SHOTS, VIEWS = 224, 32, 4, 4
STUDENT = "mobilenetv4_conv_small"
ROUNDS, BLOCK = 8, 4  # rounds of so many steps of each feed
READS = 256
LIMIT = 0.9
RESIDENT, KEPT, RENDERED = "in memory", "kept views", "rendered views"
DEVICE = "h100"
Feed = Callable[[int], Batch]


@dataclass(frozen=True)
class Rates:
    """Seconds of a step by feed and round, and views a second of one core."""

    steps: Mapping[str, Sequence[float]]
    reads: float
    renders: float

    def share(self, feed: str) -> tuple[float, float, float]:
        """Speed against the batch in memory: median over rounds, least and most."""
        pairs = zip(self.steps[RESIDENT], self.steps[feed], strict=True)
        shares = sorted(resident / own for resident, own in pairs)
        return float(np.median(shares)), shares[0], shares[-1]


def settings() -> Settings:
    """Drawn flowers, enlarged; their views cost what photos' views cost at this size."""
    overrides = {
        "image": {"size": EDGE, "crop_pct": 0.95},
        "generate": {"strategy": "none"},
        "label": {"real_views": VIEWS, "randaug_num_ops": 2},
        "distill": {"student": STUDENT, "init": "random", "batch": BATCH},
        "data": {"test_limit": 32},
    }
    return settings_for("petals", shots=SHOTS, offline=True, overrides=overrides)


def feeds(ctx: StageContext) -> dict[str, Feed]:
    """The three, of the same draws."""
    spec = spec_for(ctx.settings.distill, ctx.settings.image, 2, 2).preprocess(ctx.settings.image)
    kept = Batches(ctx, spec, "distill")
    rendered = Batches(replace(ctx, views=None), spec, "distill")
    first = kept.at(0)
    return {RESIDENT: lambda step: first, KEPT: kept.at, RENDERED: rendered.at}


def training(classes: int, resolved: Settings) -> Callable[[Batch], None]:
    """A step: forward, distillation's loss, backward, AdamW."""
    torch.manual_seed(0)
    student = build(spec_for(resolved.distill, resolved.image, classes, 2))
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(student.parameters(), 1e-4)

    def step(batch: Batch) -> None:
        assert batch.teacher_logits is not None
        logits = student(batch.images).log_softmax(dim=1)
        goals = batch.teacher_logits.softmax(dim=1)
        loss = functional.kl_div(logits, goals, reduction="batchmean")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def timed(step: Callable[[Batch], None], feed: Feed, first: int) -> float:
    """Seconds of a step, mean of a block."""
    begin = time.perf_counter()
    for number in range(first, first + BLOCK):
        step(feed(number))
    return (time.perf_counter() - begin) / BLOCK


def views_a_second(pool: Any) -> float:
    """Of one thread, reading or rendering."""
    rows = pool.members[:READS]
    begin = time.perf_counter()
    for row in rows:
        pool.view(int(row))
    return len(rows) / (time.perf_counter() - begin)


def measure(work: Path) -> Rates:
    """All of it, after a first pass that renders what is kept."""
    resolved = settings()
    run = run_stages(resolved, work, "view-feed", until="label", progress=RichProgress())
    folder = work / "view-feed"
    folder.mkdir(exist_ok=True)
    needs = next(stage.needs for stage in STAGES if stage.name == "distill")
    inputs = {name: run.stages[name] for name in needs}
    ctx = StageContext(
        resolved, inputs, folder, resolved.seed, HostSettings(), views=work / "views"
    )
    offered = feeds(ctx)
    classes = int(run.stages["data"].facts["classes"])
    step = training(classes, resolved)
    spec = spec_for(resolved.distill, resolved.image, 2, 2).preprocess(resolved.image)
    reading = Batches(ctx, spec, "distill")
    views_a_second(reading.real)  # what labeling has not kept
    reads = views_a_second(reading.real)
    renders = views_a_second(Batches(replace(ctx, views=None), spec, "distill").real)
    for feed in offered.values():
        timed(step, feed, 0)
    seconds: dict[str, list[float]] = {name: [] for name in offered}
    for number in range(ROUNDS):
        for name, feed in offered.items():
            seconds[name].append(timed(step, feed, (number + 1) * BLOCK))
    return Rates(seconds, reads, renders)


def cores(rates: Rates) -> list[tuple[object, ...]]:
    """Cores that feed an H100 by the student that it trains, the fastest first."""
    resolved = settings()
    trainer = next(one for one in trainers() if one.name == DEVICE)
    rows: list[tuple[object, ...]] = []
    for name in (STUDENT, "mobilenetv4_conv_medium", "resnet50"):
        distill = resolved.distill.model_copy(update={"student": name})
        counted = count_student(distill, resolved.image)
        speed = trainer.rate("bf16") / (TRAINING * counted.flops)
        row = (name, f"{counted.flops / 1e9:.2f}", f"{speed:,.0f}")
        rows.append((*row, f"{speed / rates.reads:.0f}", f"{speed / rates.renders:.0f}"))
    return rows


def report(rates: Rates) -> str:
    """The page."""
    rows = []
    for name in (RESIDENT, KEPT, RENDERED):
        median, least, most = rates.share(name)
        speed = BATCH / float(np.median(rates.steps[name]))
        rows.append((name, f"{speed:.1f}", f"{median:.2f} ({least:.2f}–{most:.2f})"))
    verdict = "holds" if rates.share(KEPT)[0] >= LIMIT else "**FAILS**"
    return f"""# Views for training at {EDGE} px

`python -m benchmarks.view_feed`

- kept views reach {LIMIT:g} of the speed of a batch in memory: {verdict}

{page.table("feed | images/s | against memory: median (least–most of rounds)", rows)}

{STUDENT}, batches of {BATCH}, {ROUNDS} rounds in turns. One core reads
{rates.reads:,.0f} kept views in a second and renders {rates.renders:,.0f}. Cores for one H100 by
arithmetic, at the most: it is assumed to train at 40 % of its peak in bfloat16, which depthwise
networks do not reach, a step as {TRAINING} forward passes.

{page.table("student | GFLOPs | images/s | cores, kept views | cores, rendered", cores(rates))}

Commit {page.commit()}; {page.cpu()}; {page.library_versions()}.
"""


def main() -> None:
    """Measures and writes the page."""
    parser = page.options("view_feed", __doc__)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    page.write(args.out, report(measure(work_folder(args.work))))


if __name__ == "__main__":
    main()
