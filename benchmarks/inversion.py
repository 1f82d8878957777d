"""Claim: an image that shows its class and style costs a third of what it once cost, or less.

    python -m benchmarks.inversion                # 3 seeds: an hour of one core

Images toward eight species of petals in five styles, optimized through the embedded decoder until
the embedded teacher sees them. By recipe: process time an image with torch at one thread, how often
the teacher recognizes among the prompts the style and the class asked for, and both, which makes an
image useful. Diversity is 1 - cos between two images of a class; the distance is that to the
nearest image of the class, since snapshots of one trajectory are nearer to each other than images
that began apart. So students learn from the images of some recipes, and are tested on other
pictures in all five styles.

What was measured stands in the record: a run adds the recipes and seeds that are missing there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import page
from benchmarks.sampling import difference
from compress.api import run_stages, work_folder
from compress.engine.config import Settings
from compress.engine.progress import RichProgress
from compress.evaluate.diversity import within_class_diversity
from compress.generate.artifact import GenerateArtifact
from compress.papers.methods import paper
from compress.petals.attributes import STYLES
from compress.petals.world import ONE_A_GENUS, render_species
from runtime import normalize

SEEDS = 3
PER_CLASS = 16
PICTURES = 20  # of each species and style, on which students are tested
WORDS = ("photo", "sketch", "painting", "a photo of a {} at night", "a photo of a {} in the fog")
TARGET = 3.0  # times cheaper
FAST: dict[str, Any] = {"lr": 0.4, "betas": [0.5, 0.99]}


class Recipe(NamedTuple):
    """Settings of ``generate.inversion`` and their name, images at once, and who learns."""

    name: str
    options: Mapping[str, Any]
    batch: int = 128
    student: bool = False
    per_class: int = PER_CLASS


def _steps(steps: int, cutouts: int = 1, augment: str = "noise", **more: Any) -> dict[str, Any]:
    adam = {"lr": 0.1, "betas": [0.9, 0.999], "snapshots": 1}
    return {**adam, "steps": steps, "cutouts": cutouts, "augment": augment, **more}


def _taken(steps: int, apart: int, target: str = "same") -> dict[str, Any]:
    shots: dict[str, Any] = {"snapshots": 4, "snapshot_steps": apart, "snapshot_target": target}
    return _steps(steps, **FAST, **shots)


RECIPES = (
    Recipe("50 steps, 1 cut-out with noise", _steps(50), student=True),
    Recipe("40 steps, 4 full cut-outs", _steps(40, 4, "full"), student=True),
    Recipe("50 steps, 1 full cut-out", _steps(50, 1, "full")),
    Recipe("50 steps, 1 cut-out without noise", _steps(50, 1, "none"), student=True),
    Recipe("50 steps, batches of 8", _steps(50), 8),
    Recipe("25 steps", _steps(25)),
    Recipe("25 steps, rate 0.4", _steps(25, lr=0.4)),
    Recipe("25 steps, rate 0.4, decays 0.5 and 0.99", _steps(25, **FAST), student=True),
    Recipe("16 steps, rate 0.4, decays 0.5 and 0.99", _steps(16, **FAST)),
    Recipe("24 such steps, 12 more to each of 3 other styles", _taken(24, 12, "own"), 32, True),
    Recipe("16 such steps, then 3 snapshots 4 steps apart", _taken(16, 4), 32, True),
    Recipe("24 such steps, then 3 snapshots 6 steps apart", _taken(24, 6), 32, True),
    Recipe("25 such steps, 32 images a class", _steps(25, **FAST), 128, True, 32),
    Recipe("24 such steps, snapshots, 64 images a class", _taken(24, 6), 32, True, 64),
)
Rows = Mapping[str, Mapping[str, float]]  # of a seed: name of a recipe -> its measures


def settings_of(recipe: Recipe, seed: int) -> Settings:
    """The miniature of Xuan et al. with real styles, one drawn for each image."""
    table = paper("prompt-diversity")
    generate = {
        "per_class": recipe.per_class,
        "batch": recipe.batch,
        "prompts": {"kind": "words", "words": list(WORDS)},
        "inversion": dict(recipe.options),
    }
    return table.settings(
        "Fixed", table.scales["mini"], "petals8", 0, seed, overrides={"generate": generate}
    )


def measure(recipe: Recipe, seed: int, work: Path) -> dict[str, float]:
    """Process time an image in ms, what the teacher says about the images, and what is learned."""
    import torch

    from compress.generate.inversion.decoders import load_decoder
    from compress.teacher.loading import load_clip

    torch.set_num_threads(1)
    settings = settings_of(recipe, seed)
    name = f"inversion-{seed}"
    run_stages(settings, work, name, until="teacher", progress=RichProgress())
    load_decoder(settings.generate)  # the first one imports diffusers
    start = time.process_time()
    run = run_stages(settings, work, name, until="generate", progress=RichProgress())
    seconds = time.process_time() - start
    if not run.made:
        raise SystemExit(f"these images are made already, in no time: remove {work}")
    made = GenerateArtifact(run.stages["generate"].path)
    features = load_clip(settings.teacher, "cpu", offline=True).encode_images(made.images)
    seen = cast(dict[str, float], run.stages["generate"].facts["style_agreement"])
    found = {
        "ms": 1000 * seconds / len(made.images),
        **{key: seen[key] for key in ("style", "class", "both")},
        "diversity": within_class_diversity(features, made.classes) or 0.0,
        "distance": nearest(features, made.classes),
    }
    if recipe.student:
        found["student"] = student(settings, work, name)
    return found


def nearest(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean of 1 - cos between an image and the nearest other one of its class; unit rows (N, D)."""
    cosines = np.where(labels[:, None] == labels, features @ features.T, -1.0)
    np.fill_diagonal(cosines, -1.0)
    return float(1 - cosines.max(1).mean())


def student(settings: Settings, work: Path, name: str) -> float:
    """Top-1 of a student of the images, on pictures of all styles that no test set holds."""
    import torch

    from compress.distill.artifact import DistillArtifact

    run = run_stages(settings, work, name, until="distill", progress=RichProgress())
    learned = DistillArtifact(run.stages["distill"].path).student()
    each = np.repeat(ONE_A_GENUS, PICTURES).tolist()
    numbers = list(range(PICTURES)) * len(ONE_A_GENUS)
    pictures = [render_species(each, "train", numbers, style) for style in STYLES]
    pixels = normalize(np.concatenate(pictures), learned.spec.preprocess(settings.image))
    labels = np.tile(np.repeat(np.arange(len(ONE_A_GENUS)), PICTURES), len(STYLES))
    with torch.no_grad():
        answers = learned(torch.from_numpy(pixels)).argmax(1).numpy()
    return float((answers == labels).mean())


def table(seeds: Sequence[Rows]) -> Iterator[tuple[object, ...]]:
    """The rows of recipes, and their differences from the first, seed by seed."""
    first = [rows[RECIPES[0].name] for rows in seeds]
    for recipe in RECIPES if seeds else ():
        own = [rows[recipe.name] for rows in seeds]

        def mean(name: str, own: Sequence[Mapping[str, float]] = own) -> float:
            return float(np.mean([row[name] for row in own]))

        pairs = list(zip(own, first, strict=True))
        both, b_half = difference([one["both"] - other["both"] for one, other in pairs])
        cheaper, c_half = difference([useful(other) / useful(one) for one, other in pairs])
        learned = "student" in own[0] and recipe.student
        gain = [one["student"] - other["student"] for one, other in pairs] if learned else [0.0]
        s, s_half = difference(gain)
        yield (
            recipe.name,
            f"{mean('ms'):.0f}",
            f"{100 * mean('style'):.0f}",
            f"{100 * mean('class'):.0f}",
            f"{100 * both:+.1f} ± {100 * b_half:.1f}",
            f"{np.mean([useful(row) for row in own]):.0f}",
            f"{cheaper:.1f}× ± {c_half:.1f}",
            f"{mean('diversity'):.3f}",
            f"{mean('distance'):.3f}",
            f"{mean('ms') * recipe.per_class * len(ONE_A_GENUS) / 1000:.0f}",
            f"{100 * mean('student'):.1f}" if learned else "",
            f"{100 * s:+.1f} ± {100 * s_half:.1f}" if learned else "",
            "reference" if recipe is RECIPES[0] else verdict(both, b_half, cheaper, c_half),
        )


def useful(row: Mapping[str, float]) -> float:
    """Process time in ms of an image that shows its class and style."""
    return row["ms"] / max(row["both"], 1e-9)


def verdict(both: float, b_half: float, cheaper: float, c_half: float) -> str:
    """Of the intervals: fewer recognized, or as many and how much cheaper."""
    if both + b_half < 0:
        return "recognized less often"
    if cheaper - c_half >= TARGET:
        return f"{TARGET:g} times cheaper"
    return "cheaper" if cheaper - c_half > 1 else "not shown to be cheaper"


def report(record: Mapping[str, Any]) -> str:
    """The page of a record: of the seeds that have all recipes."""
    seeds = [rows for rows in record["seeds"].values() if not missing(rows)]
    header = "images | ms each | style, % | class, % | both, difference | ms, useful | cheaper"
    header += " | diversity | distance | seconds in all | student, % | difference | verdict"
    images = PER_CLASS * len(ONE_A_GENUS)
    return f"""# Cheap inversion

`python -m benchmarks.inversion --seeds {len(seeds)}`

{images} images by recipe and seed, more where it says so, of {len(ONE_A_GENUS)} species of petals
in {len(STYLES)} styles; {len(seeds)} seeds; differences are those to the first recipe, with 95 %
intervals over seeds.
Times are process times of the stage with torch at one thread, not wall time, since the machine was
shared with other work; only their ratios mean something elsewhere. Images: the share of which the
embedded teacher recognizes the style, the class and both; a useful image is one of both. Diversity:
1 - cos of two images of a class; distance: of an image and the nearest other one of its class.
Student: top-1 on {PICTURES * len(ONE_A_GENUS) * len(STYLES)} pictures in all styles that no test
set holds, of a student that saw nothing but the images, with as many updates for each recipe.

{page.table(header, table(seeds))}

"{TARGET:g} times cheaper": the whole interval lies above, and that of the images of both does not
lie below the reference.

Commits {", ".join(record["commits"])}; {record["host"]}; {record["versions"]}.
"""


def missing(rows: Rows) -> list[Recipe]:
    """The recipes that a seed lacks."""
    return [recipe for recipe in RECIPES if recipe.name not in rows]


def main() -> None:
    """Measures what the record lacks and writes it and its page."""
    parser = page.options("inversion", __doc__, "inversion.json")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = work_folder(args.work)
    record = page.read_record(args.out) or {"seeds": {}, "commits": []}
    for seed in map(str, range(args.seeds)):
        rows = record["seeds"].setdefault(seed, {})
        for recipe in missing(rows):
            rows[recipe.name] = measure(recipe, int(seed), work)
            record["commits"] = sorted({*record["commits"], page.commit()})
            record |= {"host": page.cpu(), "versions": page.library_versions()}
            page.write_record(args.out, record, report(record))


if __name__ == "__main__":
    main()
