"""All cells of a paper's table: ``compress reproduce PAPER [--table NAME] [--scale mini|full]``.

    compress reproduce sasaki                  # the embedded world, minutes on 2 cores
    compress reproduce cvlm --table images     # another of the paper's tables
    compress reproduce sasaki --scale full     # the paper's data and models: GPU, hub weights
    compress reproduce sasaki --data photos/ --teacher DIR --generator DIR --shots 8

Finished stages are kept, so cells share data, teacher, images and targets, and an interrupted table
resumes.
"""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from compress.engine.config import HostSettings, Settings, parse_set
from compress.engine.errors import lookup, require_known
from compress.engine.executors.table import require_executor
from compress.engine.options import with_root
from compress.engine.plan import up_to
from compress.engine.preflight import preflight
from compress.engine.store import Store
from compress.engine.text import user_path
from compress.papers.cells import ANSWERS, measure_cell
from compress.papers.methods import MAIN, Paper, Scale, Shots, paper
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
    size: str = "mini"  # the name of the scale

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
        return f"{self.slug}-{dataset}-{shots}shot-s{seed}-{slug}"

    @property
    def slug(self) -> str:
        """The paper, and a further table's name."""
        table = self.paper.table
        return self.paper.name if table == MAIN else f"{self.paper.name}-{table}"

    @property
    def page_name(self) -> str:
        """The name of the table's page."""
        return self.slug if self.paper.measured_on == "sizes" else f"{self.slug}-{self.size}"

    def rows_at(self, shots: Shots) -> tuple[str, ...]:
        """The rows that have a cell at this number of shots."""
        return tuple(row for row in self.rows if self.paper.exists(row, shots))

    @property
    def cells(self) -> int:
        """Number of builds."""
        if self.paper.measured_on == "sizes":
            return 0
        a_dataset = sum(len(self.rows_at(shots)) for shots in self.shots)
        return len(self.datasets) * self.seeds * a_dataset


def plan_for(
    name: str,
    scale: str = "mini",
    *,
    table: str = MAIN,
    rows: Sequence[str] = (),
    shots: Sequence[Shots] = (),
    seeds: int | None = None,
    sets: Sequence[str] = (),
    **options: Any,
) -> TablePlan:
    """The plan of a table; ConfigError for an unknown paper, table, scale or row.

    A table of sizes, for which nothing is built, is always that of the paper's own networks.
    """
    own = paper(name, table)
    flags = [("--scale", scale)] if scale != "mini" else []
    if own.measured_on == "sizes":
        scale = "full"
    size = lookup(own.scales, scale, f"{' '.join(own.command)} has no such scale")
    for row in rows:
        require_known(row, own.rows_of(size), f"{' '.join(own.command)} has no such row")
    given = {key: value for key, value in options.items() if value is not None}
    flags += [("--row", row) for row in rows] + [("--shots", str(count)) for count in shots]
    flags += [("--seeds", str(seeds))] if seeds else []
    flags += [("--set", text) for text in sets]
    places = ("data", "teacher", "generator")
    flags += [(f"--{key}", Path(given[key]).name) for key in places if key in given]
    if sets:
        given["overrides"] = parse_set(sets)
    return TablePlan(
        own,
        size,
        tuple(row for row in own.rows_of(size) if not rows or row in rows),
        tuple(shots) or size.shots,
        seeds or size.seeds,
        given,
        shlex.join(["compress", "reproduce", *own.command, *itertools.chain(*flags)]),
        scale,
    )


def listed(plan: TablePlan) -> Iterator[str]:
    """What a dry run says: the rows, the number of builds, and which further tables there are."""
    own = plan.paper
    for row in plan.rows:
        at = ", ".join(map(str, own.shots_of.get(row, ())))
        yield f"{row} (only at {at} shots)" if at else row
    for name, why in own.not_made.items():
        yield f"not made here: {name}: {why}"
    datasets = ", ".join(plan.datasets)
    numbers = f"{plan.cells} builds: {len(plan.rows)} rows, datasets {datasets}"
    yield f"{numbers}, shots {', '.join(map(str, plan.shots))}, {plan.seeds} seeds"
    if len(names := [MAIN, *own.tables]) > 1:
        yield f"tables of {own.name}: {', '.join(names)} (--table NAME)"


def run(
    plan: TablePlan,
    work: Path,
    host: HostSettings | None = None,
    say: Callable[[str], object] = print,
) -> Results:
    """Makes every cell, seed by seed, so that an unfinished table compares rows fairly.

    DownloadError, before any work, if a row needs what is neither on this disk nor reachable. A
    table of sizes has nothing to make.
    """
    if plan.paper.measured_on == "sizes":
        return {}
    for dataset, shots in itertools.product(plan.datasets, plan.shots):
        for row in plan.rows_at(shots):
            settings = plan.settings(row, dataset, shots, 0, work)
            engine = partial(require_executor, host or HostSettings())
            stages = up_to(STAGES, ANSWERS[plan.paper.answer(row)].until)
            preflight(stages, settings, Store.of(work), [engine])
    results: Results = {key: [] for key in itertools.product(plan.datasets, plan.shots)}
    done = 0
    start = time.perf_counter()
    for seed in range(plan.seeds):
        for (dataset, shots), seeds in results.items():
            cell = {}
            for row in plan.rows_at(shots):
                name = plan.run_name(row, dataset, shots, seed)
                settings = plan.settings(row, dataset, shots, seed, work)
                measured = plan.paper.measured_on, plan.paper.answer(row)
                cell[row] = measure_cell(settings, work, name, host, *measured)
                done += 1
                minutes = (time.perf_counter() - start) / 60
                left = minutes / done * (plan.cells - done)
                result = f"{done}/{plan.cells} {name}: {100 * cell[row].mean():.1f} %"
                say(f"{result} ({minutes:.1f} min, about {left:.0f} to go)")
            seeds.append(cell)
    return results
