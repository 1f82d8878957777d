"""Claim: generating can cost a fraction of the plain call and lose neither agreement nor diversity.

    python -m benchmarks.sampling                 # 5 seeds: hours on two cores

The teacher's measures of images of the embedded generator, as probing takes them, by sampler:
scheduler, steps, and the part of the steps that is guided. Every sampler has the same seeds,
conditions and guidance scale; a difference is taken seed by seed, from the first row. Beside them,
from the shapes of the real networks: the FLOPs of an image by Kandinsky 2.2 as its model card calls
it, and as the defaults do.

What was measured stands in the record: a run adds the samplers and seeds that are missing there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks import page
from compress.api import run_stages, settings_for, work_folder
from compress.cost.generators import image_cost
from compress.engine.config import GenerateSettings
from compress.engine.progress import RichProgress
from compress.generate.generators.guidance import guided_steps
from compress.papers.statistics import t95

SEEDS = 5
PER_CLASS = 16  # images of each sampler and class
DPM = "DPMSolverMultistepScheduler"
UNIPC = "UniPCMultistepScheduler"
EARLY = (0.0, 0.5)
MIDDLE = (0.2, 0.8)
LATE = (0.5, 1.0)
SAMPLERS: tuple[dict[str, Any], ...] = (
    {"steps": 50},
    {"steps": 25},
    {"steps": 12},
    {"steps": 6},
    {"steps": 4},
    *({"steps": steps, "scheduler": DPM} for steps in (25, 12, 6, 4)),
    *({"steps": steps, "scheduler": UNIPC} for steps in (12, 6, 4)),
    *(
        {"steps": 6, "scheduler": kind, "guidance_interval": part}
        for kind in (None, DPM)
        for part in (EARLY, MIDDLE, LATE)
    ),
    {"steps": 25, "guidance_interval": MIDDLE},
    {"steps": 20, "scheduler": DPM},
    {"steps": 25, "scheduler": UNIPC},
    *({"steps": 4, "scheduler": UNIPC, "guidance_interval": part} for part in (MIDDLE, LATE)),
)
BEFORE: Mapping[str, Any] = {"steps": 6}  # the embedded world's sampler until this page
MEASURES = ("agreement", "diversity", "gap")
LOSS = 0.01  # of agreement or of relative diversity: more counts as a loss
CARD = {"height": 768, "steps": 50, "prior_steps": 25, "batch": 1}  # of Kandinsky's model card
Rows = Mapping[str, Mapping[str, float]]  # of a seed: sampler, in words -> its measures


def measure(seed: int, work: Path, samplers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Agreement, diversity and gap of some samplers."""
    probing = {"candidates": samplers, "per_class": PER_CLASS}
    generate = {"strategy": "sidclip", "per_class": 1, "probing": probing}
    settings = settings_for(
        "petals", shots=4, seed=seed, offline=True, overrides={"generate": generate}
    )
    run = run_stages(settings, work, f"sampling-{seed}", until="generate", progress=RichProgress())
    rows = cast(list[dict[str, float]], run.stages["generate"].facts["probing"]["rows"])
    found = [{name: row[name] for name in MEASURES} for row in rows]
    return dict(zip(map(words, samplers), found, strict=True))


def passes(sampler: Mapping[str, Any]) -> int:
    """Passes of the denoiser for an image."""
    interval = sampler.get("guidance_interval", (0.0, 1.0))
    return int(sampler["steps"]) + guided_steps(int(sampler["steps"]), interval)


def words(sampler: Mapping[str, Any]) -> str:
    """A sampler as the table names it."""
    kind = {DPM: "DPM-Solver++", UNIPC: "UniPC"}.get(sampler.get("scheduler") or "", "DDIM")
    interval = sampler.get("guidance_interval")
    guided = "" if interval is None else f", guided {interval[0]:.0%} to {interval[1]:.0%}"
    return f"{kind}, {sampler['steps']} steps{guided}"


def difference(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95 % interval; infinite for one seed."""
    count = len(values)
    if count < 2:
        return float(np.mean(values)), math.inf
    return float(np.mean(values)), t95(count) * float(np.std(values, ddof=1)) / math.sqrt(count)


def verdict(agreement: Sequence[float], diversity: Sequence[float]) -> str:
    """Whether the whole interval of either difference lies above a loss, or below it."""
    ends = [difference(agreement), difference(diversity)]
    if all(mean - half > -LOSS for mean, half in ends):
        return "no loss"
    return "loses" if any(mean + half < -LOSS for mean, half in ends) else "not shown"


def table(
    seeds: Sequence[Rows], reference: Mapping[str, Any], most: int | None = None
) -> Iterator[tuple[object, ...]]:
    """The rows of samplers of at most so many passes, and their differences from a reference."""
    first = [rows[words(reference)] for rows in seeds]
    for sampler in SAMPLERS:
        if most is not None and passes(sampler) > most:
            continue
        name = words(sampler)
        own = [rows[name] for rows in seeds]
        pairs = list(zip(own, first, strict=True))
        agreement = [one["agreement"] - other["agreement"] for one, other in pairs]
        diversity = [one["diversity"] / other["diversity"] - 1 for one, other in pairs]
        (a, a_half), (d, d_half) = difference(agreement), difference(diversity)
        g, g_half = difference([one["gap"] - other["gap"] for one, other in pairs])
        yield (
            name,
            passes(sampler),
            f"{100 * np.mean([row['agreement'] for row in own]):.1f}",
            f"{100 * a:+.1f} ± {100 * a_half:.1f}",
            f"{np.mean([row['diversity'] for row in own]):.3f}",
            f"{100 * d:+.1f} % ± {100 * d_half:.1f}",
            f"{np.mean([row['gap'] for row in own]):.3f}",
            f"{1000 * g:+.1f} ± {1000 * g_half:.1f}",
            "reference" if sampler == reference else verdict(agreement, diversity),
        )


def kandinsky(**changes: Any) -> float:
    """TFLOPs of an image of a batch by Kandinsky 2.2 from a text and shots, prior included."""
    plain = GenerateSettings(strategy="sidclip", generator="kandinsky-2.2", **changes)
    cost = image_cost(plain, "ViT-L-14/openai")
    assert cost is not None
    return cost.of(plain.batch, plain.batch, 0) / plain.batch / 1e12


def flops() -> Iterator[tuple[object, ...]]:
    """TFLOPs of an image: the card's call, then what the defaults change, one after the other."""
    defaults = settings_for(
        classes=["a", "b"], teacher="ViT-L-14/openai", generator="kandinsky-2.2"
    )
    changed = defaults.generate.model_dump()
    fields: dict[str, Any] = dict(CARD)
    before = kandinsky(**fields)
    yield ("the model card's call, an image at a time", f"{before:.1f}", "1.0×")
    for name in ("batch", "height", "steps", "guidance_interval"):
        fields[name] = changed[name]
        now = kandinsky(**fields, scheduler=changed["scheduler"])
        yield (f"generate.{name}={changed[name]}", f"{now:.1f}", f"{before / now:.1f}×")


def report(record: Mapping[str, Any]) -> str:
    """The page of a record: of the seeds that have all samplers."""
    seeds = [rows for rows in record["seeds"].values() if not missing(rows)]
    header = "sampler | passes | agreement, % | difference | diversity | difference | gap"
    header += " | difference, thousandths | verdict"
    own = settings_for("petals").generate.model_dump()
    now = words({name: own[name] for name in ("steps", "scheduler", "guidance_interval")})
    return f"""# Cheap sampling

`python -m benchmarks.sampling --seeds {len(seeds)}`

{PER_CLASS} images of each of 32 classes per sampler and seed, {len(seeds)} seeds, guidance scale
as by default; differences are those to the reference, with 95 % intervals over seeds. "No loss":
the intervals of agreement and diversity exclude a loss of {LOSS:.0%}. The gap between real and
generated images is better small.

{page.table(header, table(seeds, SAMPLERS[0]))}

The same against what the embedded world took before, {words(BEFORE)}; its default is
"{now}".

{page.table(header, table(seeds, BEFORE, passes(BEFORE)))}

Kandinsky 2.2 by count: FLOPs of an image, each line with the changes of those above.

{page.table("call | TFLOPs | fewer", flops())}

Commits {", ".join(record["commits"])}; {record["host"]}; {record["versions"]}.
"""


def missing(rows: Rows) -> list[dict[str, Any]]:
    """The samplers that a seed lacks."""
    return [sampler for sampler in SAMPLERS if words(sampler) not in rows]


def main() -> None:
    """Measures what the record lacks and writes it and its page."""
    parser = page.options("sampling", __doc__, "sampling.json")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = work_folder(args.work)
    record = page.read_record(args.out) or {"seeds": {}, "commits": []}
    for seed in map(str, range(args.seeds)):
        rows = record["seeds"].setdefault(seed, {})
        if lacking := missing(rows):
            rows |= measure(int(seed), work, lacking)
            record["commits"] = sorted({*record["commits"], page.commit()})
            record |= {"host": page.cpu(), "versions": page.library_versions()}
            page.write_record(args.out, record, report(record))


if __name__ == "__main__":
    main()
