"""Real photos at 224 px, without a model hub: the photo world beside baselines on its own trunk.

    python -m benchmarks.photos --data FLOWERS12              # 5 seeds of 1, 2, 4, 8 shots: 2 hours
    python -m benchmarks.photos --data CIFAR10 --shots 10 all --seeds 1 --test-limit 1000
    python -m benchmarks.photos --data FLOWERS12 --seeds 1 --shots 8 --rows ours

A folder has train/<class>/ and test/<class>/. Every row is the same command of a user with another
setting, ``compress build --data FOLDER --offline``; accuracy is that of the exported files in the
runtime, on all test photos. Beside them, on the very shots of each cell: a logistic regression on
the frozen trunk's pooled features, of the shots as they are and of their views.

Finished work is kept in the work folder: an interrupted run resumes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks import page
from benchmarks.ladder import Cell, Hits, image_count, int8_claim, measure_bench, sign_claim, table
from compress.api import run_stages, settings_for, work_folder
from compress.data.artifact import TEST, DataArtifact
from compress.data.augment import ViewRecipe, render_view
from compress.distill.artifact import DistillArtifact
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
    "no teacher": {"distill": {"objective": "ce"}},
    "random weights": {"distill": {"init": "random", "train": "all", "objective": "ce"}},
}
BASELINES = ("logistic regression", "the same with views")
VIEWS = 8  # of a shot, for the second baseline
PENALTY = 1e-3  # of the squared weights; 1e-2 and 1e-4 differ by less than a point
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
        """Logistic regressions on features of the student's own trunk."""
        stages = run_stages(settings, self.work, name, until="bench").stages
        data = DataArtifact(stages["data"].path)
        student = DistillArtifact(stages["distill"].path).student()
        spec = student.spec.preprocess(settings.image)
        trunk = FrozenNetwork(student.trunk, spec.size)
        recipe = ViewRecipe.from_settings(settings.label, settings.image)
        border = (settings.image.resize - spec.size) // 2
        inner = slice(border, border + spec.size)
        shots, tests = data.shots, data.images(TEST)

        def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            rows = trunk(normalize(np.ascontiguousarray(images), spec))
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        plain = features(shots.pixels[:, inner, inner])
        seen = features(tests.pixels)
        hits = {BASELINES[0]: regression(plain, shots.labels, seen, tests.labels)}
        views = 1 if len(shots) > MANY else VIEWS
        drawn = [
            render_view(np.asarray(shots.pixels[i]), recipe, derive(settings.seed, "lr", i, v))
            for i in range(len(shots))
            for v in range(views)
        ]
        rows = np.concatenate([plain, features(np.stack(drawn))])
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


def report(hits: Hits, data: Path, command: str) -> str:
    """The page of a folder."""
    columns = [name for name in (*COLUMNS, *ROWS, *BASELINES) if name in next(iter(hits.values()))]
    claims = []
    for shots in sorted({k for _, k in hits}):
        claims.append(int8_claim(hits, "fp32", shots))
        worse = [name for name in (*BASELINES, *ROWS) if name in columns and name != OURS]
        claims += [sign_claim(hits, "int8", name, shots) for name in worse]
    return "\n".join(
        [
            f"# Photos at 224 px without a model hub: {data.name}\n",
            f"    {command}\n",
            f"{page.cpu()}; {page.library_versions()}. Top-1 in %, mean and standard deviation "
            f"over seeds, {image_count(hits)} test photos; 0 shots stand for all photos.\n",
            table(hits, columns),
            "",
            *claims,
            "",
        ]
    )


def main() -> None:
    """Measures the cells and writes the page."""
    parser = page.options("photos", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shots", nargs="+", default=["1", "2", "4", "8"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", default=[OURS], choices=list(ROWS))
    parser.add_argument("--test-limit", type=int)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    cells = PhotoCells(args.data.resolve(), work_folder(args.work), args.test_limit)
    hits = {}
    for shots in args.shots:
        number: Shots = "all" if shots == "all" else int(shots)
        for seed in range(args.seeds):
            hits[seed, 0 if number == "all" else number] = cells.cell(number, seed, args.rows)
            done = hits[seed, 0 if number == "all" else number]
            print(shots, seed, {name: f"{100 * rows.mean():.1f}" for name, rows in done.items()})
    shown = f"python -m benchmarks.photos --data {args.data.name} --shots {' '.join(args.shots)}"
    shown += f" --seeds {args.seeds} --rows {' '.join(repr(row) for row in args.rows)}"
    page.write(args.out, report(hits, args.data, shown))


if __name__ == "__main__":
    main()
