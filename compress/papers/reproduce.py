"""A paper's table, made with this project's methods: ``compress reproduce PAPER [--scale
mini|full]``.

    compress reproduce sasaki                                   # the embedded world, minutes on 2
                                                                cores
    compress reproduce sasaki --scale full                      # the paper's data and models; a
                                                                GPU, and weights from the hub
    compress reproduce sasaki --data photos/ --teacher DIR --generator DIR --shots 8      # the same
                                                                                          rows on
                                                                                          other
                                                                                          images

Every cell is a build up to its student; the student is exported and tested with the runtime on the
test split. Finished stages are kept, so cells share data, teacher, images and targets, and an
interrupted table goes on. The claims of the paper become paired differences over seeds with a
verdict each.
"""

from __future__ import annotations

import itertools
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compress.api import run_stages
from compress.engine.config import HostSettings, Settings, parse_set
from compress.engine.options import with_root
from compress.engine.preflight import preflight
from compress.engine.versions import versions
from compress.papers.methods import Paper, Scale, paper
from compress.papers.rungs import MEASURES, domain_names
from compress.papers.statistics import mean_and_deviation, paired, said
from compress.stages import STAGES

Shots = int | Literal["all"]
MEASURED = {
    "test": "on the test split",
    "domains": "on the test sets of all domains",
    "unused": "on training images that are no shots, since a recipe is chosen here",
}
#: (dataset, shots) -> (seed, 0) -> row -> hits (N,) bool
Results = dict[tuple[str, Shots], dict[tuple[int, int], dict[str, NDArray[np.bool_]]]]


@dataclass
class Plan:
    """Which cells of a paper's table are made."""

    paper: Paper
    scale: Scale
    rows: tuple[str, ...]
    shots: tuple[Shots, ...]
    seeds: int
    source: dict[str, Any] = field(default_factory=dict)
    command: str = ""  # that repeats it, without places of this machine

    @property
    def datasets(self) -> tuple[str, ...]:
        """Named ones, or the folder's name."""
        return (Path(self.source["data"]).name,) if self.source.get("data") else self.scale.datasets

    def settings(self, row: str, dataset: str, shots: Shots, seed: int, work: Path) -> Settings:
        """The settings of one cell."""
        named = None if self.source.get("data") else dataset
        return with_root(
            self.paper.settings(row, self.scale, named, shots, seed, **self.source), work
        )

    @property
    def cells(self) -> int:
        """Builds in all."""
        return len(self.datasets) * len(self.shots) * self.seeds * len(self.rows)


def run(plan: Plan, work: Path, host: HostSettings | None = None, say: Any = print) -> Results:
    """Makes every cell; seeds are the outer loop, so that an early look compares rows fairly.

    Raises:
        DownloadError: before any work, if something a row needs is neither on this disk nor
            reachable.
    """
    for dataset, row in itertools.product(plan.datasets, plan.rows):
        preflight(STAGES, plan.settings(row, dataset, plan.shots[0], 0, work))
    results: Results = {(dataset, shots): {} for dataset in plan.datasets for shots in plan.shots}
    done, start = 0, time.perf_counter()
    for seed in range(plan.seeds):
        for (dataset, shots), found in results.items():
            cell = found.setdefault((seed, 0), {})
            for row in plan.rows:
                settings = plan.settings(row, dataset, shots, seed, work)
                name = _run_name(plan, dataset, shots, seed, row)
                measure = MEASURES[plan.paper.measured_on]
                cell[row] = measure(settings, work, name, host)
                done += 1
                spent = time.perf_counter() - start
                say(
                    f"{done}/{plan.cells} {name}: {100 * cell[row].mean():.1f} % "
                    f"({spent / 60:.1f} min, about "
                    f"{spent / done * (plan.cells - done) / 60:.0f} to go)"
                )
    return results


def table(plan: Plan, results: Mapping[Any, Any], dataset: str) -> str:
    """Rows x shots: mean top-1 ± standard deviation over seeds, and the printed number where there
    is one.
    """
    printed = bool(plan.paper.printed.get(dataset))
    head = [
        part
        for k in plan.shots
        for part in ([f"{k} shots", "printed"] if printed else [f"{k} shots"])
    ]
    lines = [
        "| row | strategy | objective | " + " | ".join(head) + " |",
        "|" + "---|" * (3 + len(head)),
    ]
    for row in plan.rows:
        about = plan.settings(row, dataset, plan.shots[0], 0, Path())
        cells = []
        for shots in plan.shots:
            values = [100 * float(found[row].mean()) for found in results[dataset, shots].values()]
            cells.append(mean_and_deviation(values))
            if printed:
                says = plan.paper.paper_says(dataset, row, shots)
                cells.append("" if says is None else f"{says:g}")
        mark = " *" if row in plan.paper.extra else ""
        lines.append(
            f"| {row}{mark} | {about.generate.strategy} | {about.distill.objective} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines)


def domain_table(plan: Plan, results: Mapping[Any, Any], work: Path, dataset: str) -> str:
    """Rows x domains at the first number of shots, mean top-1 ± standard deviation over seeds."""
    first = plan.settings(plan.rows[0], dataset, plan.shots[0], 0, work)
    names = domain_names(
        run_stages(
            first, work, _run_name(plan, dataset, plan.shots[0], 0, plan.rows[0]), until="data"
        )
    )
    lines = ["| row | " + " | ".join(names) + " |", "|" + "---|" * (1 + len(names))]
    for row in plan.rows:
        hits = [found[row] for found in results[dataset, plan.shots[0]].values()]
        cells = [
            mean_and_deviation([100 * float(hit[i].mean()) for hit in hits])
            for i in range(len(names))
        ]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def checks(plan: Plan, results: Mapping[Any, Any]) -> list[str]:
    """The order that the paper finds, row against row, each with its verdict."""
    out = []
    for (dataset, shots), hits in results.items():
        for better, worse in plan.paper.signs:
            if {better, worse} <= set(plan.rows):
                p = paired(hits, better, worse, 0)
                figures = (
                    f"{p.gain:+.2f} {p.within} points, seeds {list(p.per_seed)}, p = {p.p:.1e}"
                )
                out.append(
                    said(p.verdict, f"{better} > {worse} on {dataset}, {shots} shots", figures)
                )
    return out


def page(plan: Plan, results: Mapping[Any, Any], work: Path, minutes: float) -> str:
    """The Markdown page of a finished table."""
    made = plan.paper
    printed = "\n\n".join(
        f"On {dataset} the paper prints: "
        + ", ".join(f"{row} {_numbers(n)}" for row, n in rows.items())
        for dataset, rows in made.printed.items()
        if dataset not in plan.datasets
    )
    tables = "\n\n".join(
        f"### {dataset}\n\n{table(plan, results, dataset)}" for dataset in plan.datasets
    )
    if made.measured_on == "domains":
        tables += "".join(
            f"\n\nBy domain:\n\n{domain_table(plan, results, work, dataset)}"
            for dataset in plan.datasets
        )
    stamp = ", ".join(
        f"{k} {v}" for k, v in versions().items() if k in ("torch", "onnxruntime", "python")
    )
    return f"""# {f"System {made.system}: " if made.rows_of_a_paper else ""}{made.title}

{made.where}. `{plan.command}`

{"A replica with inferred settings, made" if made.rows_of_a_paper else "Made"} {_where(plan)}.
Top-1 in % {MEASURED[made.measured_on]}, mean ± standard deviation over {plan.seeds} seeds, measured with the exported
ONNX file in the runtime; the same number of updates in every row.
{"Rows with * are not in the paper." if made.extra else ""}

{tables}

## {"The paper's order" if made.rows_of_a_paper else "What was expected"}, checked

{chr(10).join(checks(plan, results))}

"holds": the 95 % interval of the paired difference over seeds lies above zero. "not shown": it contains zero. "FAILS": the mean
difference has the other sign.

{_inferred(made)}{f"{chr(10)}## The paper's own numbers, for orientation{chr(10)}{chr(10)}{printed}{chr(10)}" if printed else ""}
Made in {minutes:.0f} minutes on {platform.machine()}, {stamp}. Work that was already in the work folder was not done again.
"""


def _inferred(made: Paper) -> str:
    if not made.inferred:
        return ""
    lines = "\n".join(f"- `{name}`: {why}" for name, why in made.inferred.items())
    return f"## Settings that the paper does not state\n\n{lines}\n"


def _where(plan: Plan) -> str:
    if plan.source.get("data"):
        return (
            "on other images than the paper's"
            if plan.paper.rows_of_a_paper
            else f"on {Path(plan.source['data']).name}"
        )
    if plan.datasets != ("petals",):
        return "on named datasets"
    return "in the embedded miniature world" + (
        " and not on the paper's data" if plan.paper.rows_of_a_paper else ""
    )


def _numbers(value: Any) -> str:
    return " / ".join(f"{n:g}" for n in value) if isinstance(value, tuple) else f"{value:g}"


def _run_name(plan: Plan, dataset: str, shots: Shots, seed: int, row: str) -> str:
    return f"{plan.paper.name}-{dataset}-{shots}shot-s{seed}-{_slug(row)}"


def _slug(row: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in row.lower()).strip("-")


def plan_for(
    name: str,
    scale: str = "mini",
    *,
    rows: Sequence[str] = (),
    shots: Sequence[Shots] = (),
    seeds: int | None = None,
    sets: Sequence[str] = (),
    **source: Any,
) -> Plan:
    """The plan of a table.

    Raises:
        ConfigError: unknown paper, scale or row, with the nearest name.
    """
    from compress.engine.errors import ConfigError, nearest

    made = paper(name)
    if scale not in made.scales:
        raise ConfigError(
            "unknown scale", got=repr(scale), remedy=nearest(scale, list(made.scales))
        )
    for row in rows:
        if row not in made.all_rows():
            raise ConfigError(
                f"{name} has no such row", got=repr(row), remedy=nearest(row, list(made.all_rows()))
            )
    size = made.scales[scale]
    chosen = tuple(row for row in made.all_rows() if not rows or row in rows)
    given = {key: value for key, value in source.items() if value is not None}
    if sets:
        given["overrides"] = parse_set(sets)
    words = ["compress", "reproduce", name, *(["--scale", scale] if scale != "mini" else [])]
    words += [part for row in rows for part in ("--row", row)] + [
        part for k in shots for part in ("--shots", str(k))
    ]
    words += ["--seeds", str(seeds)] if seeds else []
    words += [part for text in sets for part in ("--set", text)]
    words += [
        part
        for key in ("data", "teacher", "generator")
        if key in given
        for part in (f"--{key}", Path(given[key]).name)
    ]
    return Plan(
        made,
        size,
        chosen,
        tuple(shots) or size.shots,
        seeds or size.seeds,
        given,
        shlex.join(words),
    )
