"""Real photos at 224 px, without a model hub: the photo world beside baselines on its own trunk.

    python -m benchmarks.photos --data FLOWERS12     # 5 seeds of 1, 2, 4, 8 shots: 70 minutes
    python -m benchmarks.photos --data FLOWERS12 --shots 8 --rows "random weights"
    python -m benchmarks.photos --data CIFAR10 --shots 10 all --seeds 1 --test-limit 1000

A folder has train/<class>/ and test/<class>/. Every row is the same command of a user with another
setting, ``compress build --data FOLDER --offline``; accuracy is that of the exported files in the
runtime, on all test photos. Beside them, on the very shots of each cell: a logistic regression on
the frozen trunk's pooled features, of the shots as they are and of their views.

What was measured stands in the record, with its commit: a run adds what is missing there. Builds
are kept in the work folder: an interrupted one resumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks import page
from benchmarks.ladder import (
    ALL,
    Cell,
    Hits,
    image_count,
    int8_claim,
    measure_bench,
    sign_claim,
    table,
)
from compress.api import run_stages, settings_for, work_folder
from compress.data.artifact import TEST, DataArtifact
from compress.data.augment import ViewRecipe, render_view
from compress.distill.artifact import DistillArtifact
from compress.distill.students import build
from compress.engine.config import Settings
from compress.engine.frozen import FrozenNetwork
from compress.engine.seeds import derive
from runtime import normalize

Shots = int | Literal["all"]
OURS = "ours"
COLUMNS = {  # of the row "ours": label -> predictions of the stage "bench"
    "int8": "student_int8",
    "fp32": "student_fp32",
    "PTQ": "student_ptq",
    "teacher": "teacher",
    "Lite0 alone": "teacher_0",
    "Lite2 alone": "teacher_1",
}
ROWS: Mapping[str, Mapping[str, Any]] = {
    OURS: {},
    "teachers' answers": {"distill": {"alpha": 0.9}},
    "random weights": {"distill": {"init": "random", "train": "all"}},
}
BASELINES = ("logistic regression", "the same with views")
VIEWS = 8  # of a shot, for the second baseline
PENALTY = 1e-3  # of the squared weights; 1e-2 and 1e-4 differ by less than a point
BATCH = 64  # images whose features are computed together
MANY = 2000  # shots from which on one view each is enough
BENCH_SECONDS = 1.0  # accuracy is asked here, not time


@dataclass(frozen=True)
class PhotoCells:
    """A folder of photos, and where the work is kept."""

    data: Path
    work: Path
    test_limit: int | None

    def settings(self, row: str, shots: Shots, seed: int) -> Settings:
        """The settings of one build, through the options of a user."""
        overrides: dict[str, Any] = {name: dict(values) for name, values in ROWS[row].items()}
        overrides["bench"] = {"seconds": BENCH_SECONDS}
        overrides["data"] = {"test_limit": self.test_limit}
        return settings_for(
            data=self.data, shots=shots, seed=seed, offline=True, overrides=overrides
        )

    def cell(self, shots: Shots, seed: int, rows: Sequence[str]) -> Cell:
        """Hits ``(N,)`` of the rows and, with ours, of the teachers and the baselines."""
        hits: Cell = {}
        for row in rows:
            name = f"{self.data.name}-{row.replace(' ', '-')}-{shots}shot-s{seed}"
            columns = COLUMNS if row == OURS else {row: "student_int8"}
            settings = self.settings(row, shots, seed)
            hits |= measure_bench(settings, self.work, name, columns)
            if row == OURS:
                hits |= self.baselines(settings, name)
        return hits

    def baselines(self, settings: Settings, name: str) -> Cell:
        """Logistic regressions on the student's own trunk, its features as they are pooled."""
        stages = run_stages(settings, self.work, name, until="bench").stages
        data = DataArtifact(stages["data"].path)
        student = DistillArtifact(stages["distill"].path).student()
        plain_student = build(replace(student.spec, power_norm=False))
        plain_student.load_state_dict(student.state_dict())
        spec = student.spec.preprocess(settings.image)
        trunk = FrozenNetwork(plain_student.trunk, spec.size)
        recipe = ViewRecipe.from_settings(settings.label, settings.image)
        border = (settings.image.resize - spec.size) // 2
        inner = slice(border, border + spec.size)
        shots, tests = data.shots, data.images(TEST)

        def features(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
            found, rest = [], iter(images)
            while batch := list(islice(rest, BATCH)):
                found.append(trunk(normalize(np.stack(batch), spec)))
            rows = np.concatenate(found)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        plain = features(pixels[inner, inner] for pixels in shots.pixels)
        seen = features(tests.pixels)
        hits = {BASELINES[0]: regression(plain, shots.labels, seen, tests.labels)}
        views = 1 if len(shots) > MANY else VIEWS
        drawn = (
            render_view(np.asarray(shots.pixels[i]), recipe, derive(settings.seed, "lr", i, v))
            for i in range(len(shots))
            for v in range(views)
        )
        rows = np.concatenate([plain, features(drawn)])
        labels = np.concatenate([shots.labels, np.repeat(shots.labels, views)])
        hits[BASELINES[1]] = regression(rows, labels, seen, tests.labels)
        return hits


def regression(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    tested: NDArray[np.float32],
    truth: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Which test rows a logistic regression on centered features gets right, ``(N,)``."""
    center = features.mean(axis=0)
    inputs, goals = torch.from_numpy(features - center), torch.from_numpy(labels)
    classes = int(max(labels.max(), truth.max())) + 1
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(inputs @ weight.T, goals)
        loss = loss + PENALTY / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    answers = (tested - center) @ weight.detach().numpy().T
    return np.asarray(answers.argmax(1) == truth)


def key(data: Path, shots: Shots, seed: int) -> str:
    """The name of a cell in the record."""
    return f"{data.name}/{shots}/{seed}"


def packed(cell: Cell) -> dict[str, str]:
    """Hits as text, a digit for each photo."""
    return {name: "".join(map(str, rows.astype(int))) for name, rows in cell.items()}


def unpacked(record: Mapping[str, Any]) -> dict[str, dict[tuple[int, int], Cell]]:
    """The hits of a record, by folder."""
    folders: dict[str, dict[tuple[int, int], Cell]] = {}
    for name, kept in record["cells"].items():
        folder, shots, seed = name.split("/")
        place = int(seed), ALL if shots == "all" else int(shots)
        cell = {row: np.array([*text]) == "1" for row, text in kept["hits"].items()}
        folders.setdefault(folder, {})[place] = cell
    return folders


def claims(hits: Hits) -> list[str]:
    """What the cells of a folder say, at each number of shots."""
    lines = []
    for shots in sorted({k for _, k in hits}):
        at = {place: cell for place, cell in hits.items() if place[1] == shots}
        if {"int8", "fp32"} <= shared(at):
            lines.append(int8_claim(at, "fp32", shots))
        for worse in (*BASELINES, *ROWS):
            if worse != OURS and {"int8", worse} <= shared(at):
                lines.append(sign_claim(at, "int8", worse, shots))
    return lines


def shared(hits: Hits) -> set[str]:
    """The rows that all cells have."""
    return set.intersection(*map(set, hits.values()))


def tables(hits: Hits) -> Iterator[str]:
    """A table for each set of rows that numbers of shots have in common."""
    by_shots = {k: shared({p: c for p, c in hits.items() if p[1] == k}) for _, k in sorted(hits)}
    order = (*COLUMNS, *BASELINES, *(row for row in ROWS if row != OURS))
    for rows in sorted({frozenset(rows) for rows in by_shots.values()}, key=len):
        same = {place: cell for place, cell in hits.items() if by_shots[place[1]] == rows}
        yield table(same, [row for row in order if row in rows])


def report(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    parts = ["# Photos at 224 px without a model hub\n"]
    for folder, hits in unpacked(record).items():
        own = [cell for name, cell in record["cells"].items() if name.startswith(f"{folder}/")]
        commands = sorted({command for cell in own for command in cell["commands"]})
        parts += [
            f"## {folder}\n",
            *(f"    {command}" for command in commands),
            "\nTop-1 in %, mean and standard deviation over seeds, "
            f"{image_count(hits)} test photos.\n",
            *(f"{each}\n" for each in tables(hits)),
            *claims(hits),
            "",
        ]
    parts.append(
        "An interval is Student's t over seeds, another draw of shots: it decides. The p of "
        "McNemar's test pools the photos\nof all seeds: another draw of test photos.\n"
    )
    commits = sorted({commit for cell in record["cells"].values() for commit in cell["commits"]})
    parts.append(f"Commits {', '.join(commits)}; {record['host']}, {record['versions']}.\n")
    return "\n".join(parts)


def main() -> None:
    """Measures the cells that the record lacks and writes it and its page."""
    parser = page.options("photos", __doc__, "photos.json")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shots", nargs="+", default=["1", "2", "4", "8"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", default=[OURS], choices=list(ROWS))
    parser.add_argument("--test-limit", type=int)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    cells = PhotoCells(args.data.resolve(), work_folder(args.work), args.test_limit)
    limit = f" --test-limit {args.test_limit}" if args.test_limit else ""
    shown = f"python -m benchmarks.photos --data {args.data.name} --shots {' '.join(args.shots)}"
    shown += f" --rows {' '.join(repr(row) for row in args.rows)}{limit}"
    record = page.read_record(args.out) or {"cells": {}}
    for seed in range(args.seeds):
        for shots in args.shots:
            number: Shots = "all" if shots == "all" else int(shots)
            place = key(cells.data, number, seed)
            kept = record["cells"].setdefault(place, {"hits": {}, "commands": [], "commits": []})
            missing = [
                row for row in args.rows if {"int8" if row == OURS else row} - {*kept["hits"]}
            ]
            if not missing:
                continue
            done = cells.cell(number, seed, missing)
            print(place, {name: f"{100 * rows.mean():.1f}" for name, rows in done.items()})
            kept["hits"] |= packed(done)
            kept["commands"] = sorted({*kept["commands"], shown})
            kept["commits"] = sorted({*kept["commits"], page.commit()})
            record |= {"host": page.cpu(), "versions": page.library_versions()}
            page.write_record(args.out, record, report(record))


if __name__ == "__main__":
    main()
