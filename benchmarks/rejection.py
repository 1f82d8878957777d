"""Does it know what it does not know? Flowers against photos of other things and broken frames.

    python -m benchmarks.rejection --data FLOWERS12 --unknown CIFAR10/test --seeds 3

The photo student is built on each seed as a user builds it, ``compress build --data FOLDER --shots
8 --offline``; score and threshold are the bundle's own, chosen without a test image and without one
of the photos here. Wanted are all test photos. Against them: photos of every folder of
``--unknown``, frames that are broken on the way from the camera
(``compress/evaluate/corruptions.py``), and the test photos of each class to a classifier that has
this class taken away, the hardest kind.

What was measured stands in the record, with its commit: a run adds what is missing there. A photo
of CIFAR-10 has 32 px and is enlarged to the student's 224: a blur that a photo of a camera has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import page
from benchmarks.ladder import threshold
from compress.api import run_stages, settings_for, work_folder
from compress.bench.field import BROKEN, LEFT_OUT, answers
from compress.bench.unknown import MOST, unknown_images
from compress.data.artifact import TEST, DataArtifact
from compress.engine.config import Settings
from compress.engine.progress import RichProgress
from compress.evaluate.corruptions import broken_frames
from compress.evaluate.detection import detection
from compress.papers.statistics import claim_line, mean_and_deviation
from export.artifact import ExportArtifact
from export.confidence.choose import without_own_class
from runtime import Classifier
from runtime.learning.calibration import Answers
from runtime.rejection import COMBINED, Rejection, scores
from runtime.rejection import SCORES as NAMES

FRAMES = 250  # broken ones, of five kinds
PRECISION = "int8"
LEAST_AUROC, MOST_FPR = 0.95, 0.2  # what is asked for, at 95 % true positives
HEADER = "against | images | seeds | AUROC | FPR at 95 % TPR, % | passed as known, %"
EVERY = "score | against | AUROC | FPR at 95 % TPR, %"


@dataclass(frozen=True)
class RejectionCells:
    """A folder of photos of classes, folders of photos of none, and where the work is kept."""

    data: Path
    unknown: Sequence[Path]
    work: Path
    shots: int

    def settings(self, seed: int, unknown: Path | None = None) -> Settings:
        """The settings of one build, through the options of a user."""
        bench = {"seconds": 1.0, "stress_images": 0, "unknown": unknown}
        overrides: dict[str, Any] = {"bench": {k: v for k, v in bench.items() if v is not None}}
        return settings_for(
            data=self.data, shots=self.shots, seed=seed, offline=True, overrides=overrides
        )

    def cell(self, seed: int) -> dict[str, Any]:
        """Score -> kind -> detection, ``passed`` at the bundle's threshold for its own score."""
        name = f"{self.data.name}-rejection-{self.shots}shot-s{seed}"
        settings = self.settings(seed)
        run = run_stages(settings, self.work, name, until="export", progress=RichProgress())
        bundle = ExportArtifact(run.stages["export"].path).bundle
        model = Classifier.load(bundle, PRECISION)
        rule = model.rejection
        assert rule is not None  # every build of today makes one
        tests = DataArtifact(run.stages["data"].path).images(TEST)
        pixels = np.asarray(tests.pixels)
        wanted = answers(model, pixels)
        others = {BROKEN: answers(model, broken_frames(pixels, FRAMES, seed))}
        for folder in self.unknown:
            photos = unknown_images(self.settings(seed, folder), model.spec)
            assert photos is not None  # a folder without images is refused
            others[_name(folder)] = answers(model, photos)
        every = {
            name: compared(name, rule, wanted, tests.labels, others) for name in possible(rule)
        }
        kept = rule.known(wanted.logits, wanted.features)
        right = wanted.logits.argmax(1) == tests.labels
        return {
            "chosen": rule.score,
            "scores": every,
            "kept": float(kept.mean()),
            "top1": float(right.mean()),
            "top1_of_kept": float(right[kept].mean()),
        }


def possible(rule: Rejection) -> list[str]:
    """The scores that a bundle holds enough for; its own one is among them."""
    has = {"prototype": rule.prototypes is not None, COMBINED: bool(rule.scales)}
    return [name for name in NAMES if has.get(name, True)]


def compared(
    name: str,
    rule: Rejection,
    wanted: Answers,
    labels: NDArray[np.int64],
    others: Mapping[str, Answers],
) -> dict[str, dict[str, float]]:
    """One score against every kind; ``passed`` is -1 where it is not the bundle's own."""
    scales = dict(rule.scales)
    parts = (rule.prototypes, scales)
    ours = scores(name, wanted.logits, wanted.features, *parts)
    theirs = {
        kind: scores(name, found.logits, found.features, *parts) for kind, found in others.items()
    }
    theirs[LEFT_OUT] = without_own_class(name, wanted, labels, *parts)
    own = name == rule.score
    return {
        kind: {
            **asdict(detection(ours, values)),
            "passed": float((values >= rule.threshold).mean()) if own else -1.0,
        }
        for kind, values in theirs.items()
    }


def _name(folder: Path) -> str:
    """A folder of photos: its name, and that of the set that it is a split of."""
    return (
        f"{folder.parent.name}/{folder.name}" if folder.name in ("test", "train") else folder.name
    )


def own_rows(cells: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Kind by kind, the bundles' own choice at their own threshold."""
    ordered = list(cells.values())
    out: list[tuple[object, ...]] = []
    for kind in _kinds(ordered):
        own = [cell["scores"][cell["chosen"]][kind] for cell in ordered]
        passed = mean_and_deviation([100 * row["passed"] for row in own])
        out.append((kind, own[0]["others"], len(own), *_figures(own), passed))
    return out


def every_row(cells: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Every score against every kind."""
    ordered = list(cells.values())
    shared = set.intersection(*(set(cell["scores"]) for cell in ordered))
    return [
        (name, kind, *_figures([cell["scores"][name][kind] for cell in ordered]))
        for name in NAMES
        if name in shared
        for kind in _kinds(ordered)
    ]


def _kinds(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The kinds of images of no class, photos first."""
    found = list(next(iter(cells[0]["scores"].values())))
    return sorted(found, key=lambda kind: (kind == LEFT_OUT, kind == BROKEN, kind))


def _figures(found: Sequence[Mapping[str, float]]) -> tuple[str, str]:
    area = [row["auroc"] for row in found]
    spread = f" ± {np.std(area, ddof=1):.3f}" if len(area) > 1 else ""
    return (
        f"{np.mean(area):.3f}{spread}",
        mean_and_deviation([100 * row["fpr95"] for row in found]),
    )


def claims(cells: Mapping[str, Any]) -> list[str]:
    """What was asked for, against what was measured, in the worst seed."""
    ordered = list(cells.values())
    lines = []
    for kind in _kinds(ordered):
        if kind == LEFT_OUT:
            continue
        own = [cell["scores"][cell["chosen"]][kind] for cell in ordered]
        area, fpr = min(row["auroc"] for row in own), max(row["fpr95"] for row in own)
        holds = area >= LEAST_AUROC and fpr <= MOST_FPR
        claim = f"AUROC >= {LEAST_AUROC:g} and FPR <= {100 * MOST_FPR:g} % against {kind}"
        figures = f"worst seed {area:.3f}, {100 * fpr:.1f} %"
        lines.append(claim_line(threshold(holds), claim, figures))
    kept = [100 * cell["kept"] for cell in ordered]
    lines.append(
        f"- of the test photos {mean_and_deviation(kept)} % are kept; top-1 is "
        f"{mean_and_deviation([100 * cell['top1'] for cell in ordered])} % of all, "
        f"{mean_and_deviation([100 * cell['top1_of_kept'] for cell in ordered])} % of the kept"
    )
    chosen = sorted({cell["chosen"] for cell in ordered})
    lines.append(f"- chosen at export: {', '.join(chosen)}")
    return lines


def report(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    parts = ["# Images that show none of the classes\n"]
    for folder, found in record["folders"].items():
        cells = found["cells"]
        parts += [
            f"## {folder}\n",
            f"    {found['command']}\n",
            f"The {PRECISION} file; {found['wanted']} test photos, up to {MOST} photos of each "
            f"other set, {FRAMES} broken frames.\n",
            page.table(HEADER, own_rows(cells)) + "\n",
            *claims(cells),
            "\nEvery score, whichever was chosen:\n",
            page.table(EVERY, every_row(cells)),
            "",
        ]
    parts.append(f"Commits {', '.join(record['commits'])}; {record['host']}, {record['versions']}.")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Measures the seeds that the record lacks and writes it and its page."""
    parser = page.options("rejection", __doc__, "rejection.json")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--unknown", type=Path, nargs="+", required=True)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    unknown = [folder.resolve() for folder in args.unknown]
    cells = RejectionCells(args.data.resolve(), unknown, work_folder(args.work), args.shots)
    record = page.read_record(args.out) or {"folders": {}, "commits": []}
    others = " ".join(_name(folder) for folder in unknown)
    shown = f"--data {cells.data.name} --unknown {others} --shots {args.shots}"
    kept = record["folders"].setdefault(
        f"{cells.data.name}, {args.shots} shots",
        {"cells": {}, "command": f"python -m benchmarks.rejection {shown} --seeds {args.seeds}"},
    )
    for seed in range(args.seeds):
        if str(seed) in kept["cells"]:
            continue
        done = cells.cell(seed)
        kept["cells"][str(seed)] = done
        first = next(iter(done["scores"][done["chosen"]].values()))
        kept["wanted"] = first["wanted"]
        record["commits"] = sorted({*record["commits"], page.commit()})
        record |= {"host": page.cpu(), "versions": page.library_versions()}
        page.write_record(args.out, record, report(record))


if __name__ == "__main__":
    main()
