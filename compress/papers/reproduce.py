"""All cells of a paper's table: ``compress reproduce PAPER [--scale mini|full]``.

    compress reproduce sasaki                  # the embedded world, minutes on 2 cores
    compress reproduce sasaki --scale full     # the paper's data and models: GPU, hub weights
    compress reproduce sasaki --data photos/ --teacher DIR --generator DIR --shots 8

Finished stages are kept, so cells share data, teacher, images and targets, and an interrupted table
resumes.
"""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from compress.engine.config import HostSettings, Settings, parse_set
from compress.engine.errors import lookup, require_known
from compress.engine.executors.table import require_executor
from compress.engine.options import with_root
from compress.engine.preflight import preflight
from compress.engine.store import Store
from compress.engine.text import user_path
from compress.papers.cells import measure_cell
from compress.papers.methods import Paper, Scale, Shots, paper
from compress.papers.statistics import Cell
from compress.stages import STAGES

Results = dict[tuple[str, Shots], list[Cell]]  # (dataset, shots) -> a cell per seed


@dataclass
class TablePlan:
    """The cells of a paper's table to make."""

    paper: Paper
    scale: Scale
    rows: tuple[str, ...]
    shots: tuple[Shots, ...]
    seeds: int
    options: dict[str, Any] = field(default_factory=dict)  # data, teacher, ..., overrides; as given
    command: str = ""  # repeats the table; folders by name only

    @property
    def folder(self) -> Path | None:
        """The folder of images that replaces the paper's datasets."""
        return user_path(self.options["data"]) if self.options.get("data") else None

    @property
    def datasets(self) -> tuple[str, ...]:
        """The named datasets, or the folder's name."""
        return (self.folder.name,) if self.folder else self.scale.datasets

    def settings(self, row: str, dataset: str, shots: Shots, seed: int, work: Path) -> Settings:
        """The settings of one cell."""
        name = None if self.folder else dataset
        cell = self.paper.settings(row, self.scale, name, shots, seed, **self.options)
        return with_root(cell, work)

    def run_name(self, row: str, dataset: str, shots: Shots, seed: int) -> str:
        """The name of the run that builds a cell."""
        slug = "".join(c if c.isalnum() else "-" for c in row.lower()).strip("-")
        return f"{self.paper.name}-{dataset}-{shots}shot-s{seed}-{slug}"

    @property
    def cells(self) -> int:
        """Number of builds."""
        return len(self.datasets) * len(self.shots) * self.seeds * len(self.rows)


def plan_for(
    name: str,
    scale: str = "mini",
    *,
    rows: Sequence[str] = (),
    shots: Sequence[Shots] = (),
    seeds: int | None = None,
    sets: Sequence[str] = (),
    **options: Any,
) -> TablePlan:
    """The plan of a table; ConfigError for an unknown paper, scale or row."""
    table = paper(name)
    size = lookup(table.scales, scale, "unknown scale")
    for row in rows:
        require_known(row, table.all_rows(), f"{name} has no such row")
    given = {key: value for key, value in options.items() if value is not None}
    flags = [("--scale", scale)] if scale != "mini" else []
    flags += [("--row", row) for row in rows] + [("--shots", str(count)) for count in shots]
    flags += [("--seeds", str(seeds))] if seeds else []
    flags += [("--set", text) for text in sets]
    places = ("data", "teacher", "generator")
    flags += [(f"--{key}", Path(given[key]).name) for key in places if key in given]
    if sets:
        given["overrides"] = parse_set(sets)
    return TablePlan(
        table,
        size,
        tuple(row for row in table.all_rows() if not rows or row in rows),
        tuple(shots) or size.shots,
        seeds or size.seeds,
        given,
        shlex.join(["compress", "reproduce", name, *itertools.chain(*flags)]),
    )


def run(
    plan: TablePlan,
    work: Path,
    host: HostSettings | None = None,
    say: Callable[[str], object] = print,
) -> Results:
    """Makes every cell, seed by seed, so that an unfinished table compares rows fairly.

    DownloadError, before any work, if a row needs what is neither on this disk nor reachable.
    """
    for dataset, row, shots in itertools.product(plan.datasets, plan.rows, plan.shots):
        settings = plan.settings(row, dataset, shots, 0, work)
        engine = partial(require_executor, host or HostSettings())
        preflight(STAGES, settings, Store.of(work), [engine])
    results: Results = {key: [] for key in itertools.product(plan.datasets, plan.shots)}
    done = 0
    start = time.perf_counter()
    for seed in range(plan.seeds):
        for (dataset, shots), seeds in results.items():
            cell = {}
            for row in plan.rows:
                name = plan.run_name(row, dataset, shots, seed)
                settings = plan.settings(row, dataset, shots, seed, work)
                cell[row] = measure_cell(settings, work, name, host, plan.paper.measured_on)
                done += 1
                minutes = (time.perf_counter() - start) / 60
                left = minutes / done * (plan.cells - done)
                result = f"{done}/{plan.cells} {name}: {100 * cell[row].mean():.1f} %"
                say(f"{result} ({minutes:.1f} min, about {left:.0f} to go)")
            seeds.append(cell)
    return results
