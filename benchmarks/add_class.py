"""A class added from a few photos, beside the same class trained in.

    python -m benchmarks.add_class --data FLOWERS12 --left-out bluebell dandelion pansy

One build knows all classes; another one each lacks a class, whose shots of the first build are then
added with ``compress add-class``. Both see the same test photos: how many of the class are named
right, trained and added, and how many of the others, before and after. All builds are those of a
user, ``compress build --data FOLDER --shots 8 --offline``.

A folder has train/<class>/ and test/<class>/. What was measured stands in the record, with its
commit: a run adds what is missing there. Builds are kept in the work folder.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.ladder import threshold
from compress.api import run_stages, settings_for, work_folder
from compress.data.artifact import DataArtifact
from compress.engine.progress import RichProgress
from compress.papers.statistics import claim_line
from export.artifact import ExportArtifact
from runtime import Classifier
from runtime.learning.accuracy import hits, labeled_photos
from runtime.learning.add_class import add_class

PRECISIONS = ("fp32", "int8")
MOST_GAP, MOST_LOSS = 5.0, 1.0  # points that are asked for: of the new class, of the old ones
HEADER = (
    "left out | file | trained, % | added, % | photos | others before, % | after, % | photos | "
    "seconds to add"
)


@dataclass(frozen=True)
class AddClassCells:
    """A folder of photos, and where builds and folders are kept."""

    data: Path
    work: Path
    shots: int

    def build(self, data: Path, name: str) -> tuple[Path, DataArtifact]:
        """The bundle and the data of a user's build."""
        settings = settings_for(data=data, shots=self.shots, seed=0, offline=True)
        run = run_stages(settings, self.work, name, until="export", progress=RichProgress())
        bundle = ExportArtifact(run.stages["export"].path).bundle
        return bundle, DataArtifact(run.stages["data"].path)

    def without(self, left_out: str) -> Path:
        """A folder beside the work folder that lacks a class; its photos are linked."""
        goal = self.work.parent / "data" / f"no-{left_out}"
        for file in sorted(path for path in self.data.rglob("*") if path.is_file()):
            place = goal / file.relative_to(self.data)
            if left_out not in file.relative_to(self.data).parts and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, place)
        return goal

    def cell(self, left_out: str) -> dict[str, Any]:
        """Precision -> shares right of the class and of the others, trained and added."""
        whole, data = self.build(self.data, self.data.name)
        less, _ = self.build(self.without(left_out), f"no-{left_out}")
        scratch = self.work.parent / "added" / left_out
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / "photos").mkdir(parents=True)
        for key in data.shots.keys:
            if left_out in Path(key).parts:
                shutil.copyfile(self.data / key, scratch / "photos" / Path(key).name)
        start = time.perf_counter()
        done = add_class(less, scratch / "photos", name=left_out, out=scratch / "bundle")
        seconds = time.perf_counter() - start
        out: dict[str, Any] = {"seconds": seconds, "shots": done.classes[0].photos}
        for precision in PRECISIONS:
            out[precision] = compared(whole, less, done.bundle, self.data, left_out, precision)
        return out


def compared(
    whole: Path, less: Path, more: Path, data: Path, left_out: str, precision: str
) -> dict[str, float]:
    """Right answers of three bundles on the test photos, in percent, of a class and the others."""
    models = {
        name: Classifier.load(bundle, precision)
        for name, bundle in (("trained", whole), ("before", less), ("after", more))
    }
    photos = labeled_photos(data / "test", models["trained"].labels)
    row: dict[str, float] = {}
    for name, model in models.items():
        found = hits(model, photos, {})
        own = found.pop(left_out)
        others = [one.share for one in found.values()]
        weights = [one.count for one in found.values()]
        row[f"{name}_class"] = 100 * own.share
        row[f"{name}_others"] = 100 * float(np.average(others, weights=weights))
        row |= {"photos": own.count, "other_photos": sum(weights)}
    return row


def rows(cells: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A row for each class and file, and their mean."""
    out: list[tuple[object, ...]] = []
    figures = ("trained_class", "after_class", "before_others", "after_others")
    for name, cell in cells.items():
        for precision in PRECISIONS:
            one = cell[precision]
            shown = [f"{one[key]:.1f}" for key in figures]
            seconds = f"{cell['seconds']:.1f}" if precision == PRECISIONS[0] else ""
            counts = one["photos"], one["other_photos"]
            out.append((name, precision, *shown[:2], counts[0], *shown[2:], counts[1], seconds))
    for precision in PRECISIONS:
        mean = [
            f"{np.mean([cell[precision][key] for cell in cells.values()]):.1f}" for key in figures
        ]
        out.append(("mean", precision, *mean[:2], "", *mean[2:], "", ""))
    return out


def claims(cells: Mapping[str, Any]) -> list[str]:
    """What was asked for, against what was measured, in the worst case."""
    every = [cell[precision] for cell in cells.values() for precision in PRECISIONS]
    gap = max(one["trained_class"] - one["after_class"] for one in every)
    loss = max(one["before_others"] - one["after_others"] for one in every)
    return [
        claim_line(
            threshold(gap <= MOST_GAP),
            f"an added class is within {MOST_GAP:g} points of the same class trained in",
            f"at worst {gap:.1f} points below",
        ),
        claim_line(
            threshold(loss <= MOST_LOSS),
            f"the other classes lose at most {MOST_LOSS:g} point",
            f"at worst {loss:.2f} points",
        ),
    ]


def report(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    parts = ["# A class added from a few photos\n"]
    for folder, found in record["folders"].items():
        parts += [
            f"## {folder}\n",
            f"    {found['command']}\n",
            "Trained: the class was among those of the build. Added: it joined a build without it, "
            "from the same shots. Others: the test photos of all other classes, before and after "
            "it joined.\n",
            page.table(HEADER, rows(found["cells"])) + "\n",
            *claims(found["cells"]),
            "",
        ]
        parts += [f"{found['note']}\n"] if found.get("note") else []
    parts.append(f"Commits {', '.join(record['commits'])}; {record['host']}, {record['versions']}.")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Measures the classes that the record lacks and writes it and its page."""
    parser = page.options("add_class", __doc__, "add_class.json")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--left-out", nargs="+", required=True)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--note", help="a sentence about the folder, for the page")
    args = parser.parse_args()
    cells = AddClassCells(args.data.resolve(), work_folder(args.work), args.shots)
    record = page.read_record(args.out) or {"folders": {}, "commits": []}
    shown = f"--data {cells.data.name} --left-out {' '.join(args.left_out)} --shots {args.shots}"
    kept = record["folders"].setdefault(f"{cells.data.name}, {args.shots} shots", {"cells": {}})
    kept["command"] = f"python -m benchmarks.add_class {shown}"
    if args.note:
        kept["note"] = args.note
    for name in args.left_out:
        if name in kept["cells"]:
            continue
        kept["cells"][name] = cells.cell(name)
        record["commits"] = sorted({*record["commits"], page.commit()})
        record |= {"host": page.cpu(), "versions": page.library_versions()}
        page.write_record(args.out, record, report(record))


if __name__ == "__main__":
    main()
