"""The methods on real photos: teacher and generator trained here, students from k photos per class.

    python -m benchmarks.real_photos --data CIFAR10                # 2 cores: the world takes 20 to
                                                                   # 45 minutes, then the ladder
    python -m benchmarks.real_photos --data CIFAR10 --scale gpu    # for one GPU, 25 min of training
    python -m benchmarks.real_photos --data CIFAR10 --shots 4 --seeds 1 --rungs SUP +D

CIFAR10 is a folder with train/<class>/ and test/<class>/. Teacher and generator
(``real_photos_world``) stand in for foundation models: they see the whole train split, so the
teacher has seen the shots too, as a model pretrained on the web may have. The student sees k photos
per class and generated images. Every rung has the same number of updates and the same batch, and
every strategy generates the same number of images. Accuracy is that of the exported file in the
runtime, on a fixed part of the test split.

"I'" stands in for SIDCLIP's start as a small CLIP: the first half of the rung's own updates is
feature distillation, on the rung's own images, into a head that starts as the class texts. So
"+I'+D" and "+D" differ in I' alone. "T" is a trunk that was trained once, for 2,000 updates of
feature distillation on images of the class names (no photo, no label), as a pretrained model is: it
holds synthetic images and a budget of its own, and is compared with what has neither in no claim.

Finished work is kept in the work folder: an interrupted run resumes.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.ladder import (
    BENCHED,
    Cell,
    Hits,
    image_count,
    int8_claim,
    measure_bench,
    paired,
    shot,
    shrink_claim,
    sign_claim,
    table,
    threshold,
)
from benchmarks.real_photos_world import GUIDANCE_SCALE, SCALES, STEPS, make_world
from compress.api import run_stages, settings_for, work_folder
from compress.distill.artifact import DistillArtifact
from compress.engine.config import HostSettings, Settings, merge
from compress.engine.errors import DataError
from compress.engine.progress import RichProgress
from compress.papers.cells import measure_cell
from compress.papers.statistics import claim_line

TEST_IMAGES = 2000
BASE: dict[str, Any] = {
    "data": {"test_limit": TEST_IMAGES},
    "image": {"size": 32, "crop_pct": 1.0},
    "generate": {
        "probing": {"candidates": []},
        "per_class": 64,
        "steps": STEPS,
        "guidance_scale": GUIDANCE_SCALE,
        "batch": 128,
    },
    "label": {"views": 4, "crop_scale_min": 0.6, "randaug_num_ops": 1, "noise": 0.02},
    "distill": {
        "init": "random",
        "steps": 400,
        "batch": 128,
        "lr": 2e-3,
        "head_lr": 2e-3,
        "weight_decay": 0.02,
        "feature_weight": 20.0,
        "condition_weight": 20.0,  # selected on training pictures of petals, not on photos
        "precision": "bf16",
    },
    "quantize": {"steps": 150, "lr": 1e-4, "calibration_images": 256},
    "bench": {"seconds": 1},
}
#: "I'": half of a rung's updates, on its own images
FEATURES_FIRST = {"head": "cosine", "feature_share": 0.5}
#: the trunk "T": every update is feature distillation, on images of the class names
TRUNK: dict[str, Any] = {
    "generate": {"strategy": "cls2img", "per_class": 500},
    "distill": {"head": "cosine", "objective": "fd", "steps": 2000, "feature_steps": 2000},
}
FROM_TRUNK = {"init": "clip", "lr": 5e-4, "head_lr": 5e-4, "freeze_batch_norm": True}


@dataclass(frozen=True)
class Rung:
    """The images and the objective of a rung, and how it starts: with I', or from the trunk T."""

    strategy: str
    objective: str
    features_first: bool = False
    from_trunk: bool = False

    def overrides(self, trunk: Path | None) -> dict[str, Any]:
        """Its settings on top of ``BASE``."""
        start: dict[str, Any] = dict(FEATURES_FIRST) if self.features_first else {}
        if self.from_trunk:
            start = {**FROM_TRUNK, "init_path": str(trunk)}
        return {
            "generate": {"strategy": self.strategy},
            "distill": {"objective": self.objective, **start},
        }


RUNGS = {
    "SUP": Rung("none", "ce"),
    "+D": Rung("none", "kd"),
    "+I'+D": Rung("none", "kd", features_first=True),
    "+I'+D+S": Rung("sidclip", "kd", features_first=True),
    "+T+D": Rung("none", "kd", from_trunk=True),
    "+T+D+S": Rung("sidclip", "kd", from_trunk=True),
    "real FD": Rung("none", "fd"),
    "real LD": Rung("none", "ld"),
    "cls2img FD": Rung("cls2img", "fd"),
    "cls2img LD": Rung("cls2img", "ld"),
    "img2img FD": Rung("img2img", "fd"),
    "img2img LD": Rung("img2img", "ld"),
    "img2img CP": Rung("img2img", "cp"),
}
# the whole system: the rung that is quantized, fixed beforehand, not the best on the test split
SHIPPED = "+I'+D+S"
TABLES = {
    "SIDCLIP": ("zero-shot", "SUP", "+D", "+I'+D", "+I'+D+S", "int8", "PTQ", "probe"),
    "A trunk with images and a budget of its own": ("+I'+D", "+T+D", "+I'+D+S", "+T+D+S"),
    "Feature, logit and condition distillation": (
        "SUP",
        "real FD",
        "real LD",
        "cls2img FD",
        "cls2img LD",
        "img2img FD",
        "img2img LD",
        "img2img CP",
    ),
}
#: better > worse, as the papers claim (methods by their own names above)
SIGNS = (
    ("+D", "SUP"),
    ("+I'+D", "+D"),
    ("+I'+D+S", "+I'+D"),
    ("probe", "+I'+D+S"),
    ("real FD", "SUP"),
    ("real FD", "real LD"),
    ("cls2img FD", "real FD"),
    ("img2img FD", "real FD"),
    ("cls2img FD", "cls2img LD"),
    ("img2img FD", "img2img LD"),
    ("img2img FD", "img2img CP"),
    ("img2img CP", "img2img LD"),
)
ALIKE_POINTS = 2.0  # "cls2img and img2img are alike"; ours, the paper's averages differ by 0.1


@dataclass(frozen=True)
class PhotoLadder:
    """A ladder's photos, trained world, work folder and host."""

    data: Path
    world: Path
    work: Path
    host: HostSettings

    def settings(self, shots: int, seed: int, *overrides: Mapping[str, Any]) -> Settings:
        """The settings of one build, through the options of a user."""
        return settings_for(
            data=self.data,
            teacher=str(self.world / "teacher"),
            generator=str(self.world),
            student="petal_cnn",
            shots=shots,
            seed=seed,
            overrides=merge(BASE, *overrides),
        )

    def trunk(self) -> Path:
        """The file of the trunk T, trained once: its student has the layout of a small CLIP."""
        run = run_stages(
            self.settings(0, 0, TRUNK),
            self.work,
            "real-photos-trunk",
            until="distill",
            host=self.host,
            progress=RichProgress(),
        )
        return DistillArtifact(run.stages["distill"].path).weights

    def cell(self, seed: int, shots: int, rungs: Sequence[str]) -> Cell:
        """Hits of the rungs, and with the shipped one of the teacher and the int8 files."""
        hits: Cell = {}
        trunk = self.trunk() if any(RUNGS[rung].from_trunk for rung in rungs) else None
        for rung in rungs:
            settings = self.settings(shots, seed, RUNGS[rung].overrides(trunk))
            name = f"real-photos-{rung.replace(' ', '-').replace(chr(39), '')}-{shots}shot-s{seed}"
            if rung == SHIPPED:
                hits |= measure_bench(
                    settings, self.work, name, {rung: "student_fp32", **BENCHED}, self.host
                )
            else:
                hits[rung] = measure_cell(settings, self.work, name, self.host)
        return hits


def present(hits: Hits, columns: Sequence[str]) -> list[str]:
    """The columns that every cell has."""
    return [column for column in columns if all(column in cell for cell in hits.values())]


def checks(hits: Hits) -> list[str]:
    """The papers' claims as signs, each with its verdict, also those that fail."""
    shots = sorted({k for _, k in hits})
    out: list[str] = []
    for better, worse in SIGNS:
        if len(present(hits, (better, worse))) == 2:
            out += [sign_claim(hits, better, worse, k) for k in shots]
    if len(present(hits, ("cls2img FD", "img2img FD"))) == 2:
        for k in shots:
            p = paired(hits, "cls2img FD", "img2img FD", k)
            claim = f"cls2img FD and img2img FD are within {ALIKE_POINTS:g} points at {shot(k)}"
            verdict = threshold(abs(p.gain) <= ALIKE_POINTS)
            out.append(claim_line(verdict, claim, f"{p.gain:+.1f} {p.within}"))
    if present(hits, ("int8",)):
        out += [int8_claim(hits, SHIPPED, k) for k in shots]
    if len(shots) > 1 and len(present(hits, (SHIPPED, "+I'+D"))) == 2:
        out.append(shrink_claim(hits, SHIPPED, "+I'+D", shots[0], shots[-1]))
    return out


def report(hits: Hits, facts: Mapping[str, Any], command: str, seconds: float) -> str:
    """The text of results/real_photos.md."""
    tables = "\n\n".join(
        f"## {title}\n\n{table(hits, columns)}"
        for title, columns in ((title, present(hits, all_)) for title, all_ in TABLES.items())
        if columns
    )
    return f"""# Real photos

`{command}`

Top-1 in % on {image_count(hits)} test photos, mean ± standard deviation over seeds (other
shots, other first weights), measured with the exported ONNX file in the runtime. Teacher and
generator were trained here on the whole train split and stand in for foundation models: they have
seen the shots. A replica with inferred settings, at 32 px and miniature size: signs are to be
compared, not figures. A sign holds where its 95 % interval over seeds excludes zero; p is
McNemar's exact test over the images of all seeds.

{tables}

## Claims

{chr(10).join(checks(hits))}

## The stand-ins

{stand_ins(facts)}

![photos; generated from class names; generated from the photos' embeddings](real_photos.png)

One row a class: photos of the test split, images from the class name, images from the embeddings
of those photos.

Made in {seconds / 60:.0f} minutes on {platform.machine()}, {page.library_versions()}. Work that was
already in the work folder was not done again.
"""


def stand_ins(facts: Mapping[str, Any]) -> str:
    """The quality of teacher and generator, as a table."""
    minutes = (f"{phase} {seconds / 60:.1f} min" for phase, seconds in facts["seconds"].items())
    shares = {
        f"teacher, zero-shot on all {facts['test_photos']:.0f} test photos": "teacher_zero_shot",
        "images generated from class names that the teacher calls by it": (
            "agreement_of_images_from_text"
        ),
        "images generated from photos' embeddings, the same": "agreement_of_images_from_embeddings",
        "the photos themselves, the same": "agreement_of_the_embeddings",
    }
    distances = {
        "cosine of an image to the embedding it was made from": "cosine_to_condition",
        "mean 1 - cosine of two photos of a class": "diversity_photos",
        "of two images generated from a class name": "diversity_from_text",
    }
    rows = [
        *((label, f"{100 * facts[key]:.1f} %") for label, key in shares.items()),
        *((label, f"{facts[key]:.2f}") for label, key in distances.items()),
        (f"images per second, {STEPS} steps with guidance", f"{facts['images_per_s']:.0f}"),
        ("training", ", ".join(minutes)),
    ]
    return page.table(" | ", rows)


def photo_folder(data: Path | None) -> Path:
    """The folder of photos.

    Raises:
        DataError: none was named, or it has no train/ and test/.
    """
    if data is None or not all((data / part).is_dir() for part in ("train", "test")):
        raise DataError(
            "the real-photo benchmark needs photos",
            got="no --data" if data is None else str(data),
            expected="a folder with train/<class>/ and test/<class>/, such as CIFAR-10 as "
            "image files",
            remedy="python -m benchmarks.real_photos --data FOLDER",
        )
    return data.resolve()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = page.options("real_photos", __doc__)
    parser.add_argument("--data", type=Path, help="folder with train/<class>/ and test/<class>/")
    parser.add_argument(
        "--scale", choices=SCALES, default="cpu", help="how long the stand-ins are trained"
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=list(RUNGS))
    parser.add_argument("--device", default=None, help="default: cuda for --scale gpu, else cpu")
    parser.add_argument("--work-dir", default=None)
    options = parser.parse_args(arguments)
    data = photo_folder(options.data)
    start = time.perf_counter()
    device = options.device or ("cuda" if options.scale == "gpu" else "cpu")
    work = work_folder(options.work_dir)
    folder = work / f"real_photos_{options.scale}"
    facts = make_world(data, folder, SCALES[options.scale], device=device)
    ladder = PhotoLadder(data, folder / "world", work, HostSettings(device=device))
    hits: dict[tuple[int, int], Cell] = {}
    for seed in range(options.seeds):
        for shots in options.shots:
            hits[seed, shots] = ladder.cell(seed, shots, options.rungs)
            for columns in TABLES.values():
                print(table(hits, present(hits, columns)), flush=True)
    command = (
        f"python -m benchmarks.real_photos --data CIFAR10 --scale {options.scale} "
        f"--shots {' '.join(map(str, options.shots))} --seeds {options.seeds}"
    )
    page.write(options.out, report(hits, facts, command, time.perf_counter() - start))
    shutil.copy(folder / "world" / "sheet.png", options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
