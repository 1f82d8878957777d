"""The Markdown page of a finished table: numbers, verdicts on claims, inferred settings."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from compress.api import run_stages
from compress.engine.options import EMBEDDED_DATASETS
from compress.engine.versions import versions
from compress.papers.cells import MEASURES, domain_names
from compress.papers.reproduce import Results, TablePlan
from compress.papers.statistics import claim_line, mean_and_deviation, paired_gain


def page(plan: TablePlan, results: Results, work: Path, minutes: float) -> str:
    """The page of a finished table."""
    paper = plan.paper
    tables = [f"### {dataset}\n\n{table(plan, results, dataset)}" for dataset in plan.datasets]
    text = "\n\n".join(tables)
    if paper.measured_on == "domains":
        for dataset in plan.datasets:
            text += f"\n\nBy domain:\n\n{domain_table(plan, results, work, dataset)}"
    shown = ("torch", "onnxruntime", "python")
    stamp = ", ".join(f"{name} {v}" for name, v in versions().items() if name in shown)
    verdicts = "\n".join(checks(plan, results))
    return f"""# {f"System {paper.system}: " if paper.published else ""}{paper.title}

{paper.where}. `{plan.command}`

{"A replica with inferred settings, made" if paper.published else "Made"} {_world(plan)}.
Top-1 in % {MEASURES[paper.measured_on].words}, mean ± standard deviation over {plan.seeds} seeds, \
measured with the exported
ONNX file in the runtime; the same number of updates in every row.
{"Rows with * are not in the paper." if paper.extra else ""}

{text}

## {"The paper's order" if paper.published else "What was expected"}, checked

{verdicts}

"holds": the 95 % interval of the paired difference over seeds lies above zero. "not shown": it \
contains zero. "FAILS": the mean
difference has the other sign.

{_inferred(plan)}{_printed(plan)}
Made in {minutes:.0f} minutes on {platform.machine()}, {stamp}. Work that was already in the work \
folder was not done again.
"""


def table(plan: TablePlan, results: Results, dataset: str) -> str:
    """Rows x shots: top-1, mean ± deviation over seeds, and the printed number if there is one."""
    printed = bool(plan.paper.printed.get(dataset))
    head = ["row", "strategy", "objective"]
    for shots in plan.shots:
        head += [f"{shots} shots", "printed"] if printed else [f"{shots} shots"]
    rows = []
    for row in plan.rows:
        settings = plan.settings(row, dataset, plan.shots[0], 0, Path())
        name = f"{row} *" if row in plan.paper.extra else row
        cells = [name, settings.generate.strategy, settings.distill.objective]
        for shots in plan.shots:
            seeds = results[dataset, shots]
            cells.append(mean_and_deviation([100 * float(cell[row].mean()) for cell in seeds]))
            if printed:
                number = plan.paper.printed_top1(dataset, row, shots)
                cells.append("" if number is None else f"{number:g}")
        rows.append(cells)
    return _markdown(head, rows)


def domain_table(plan: TablePlan, results: Results, work: Path, dataset: str) -> str:
    """Rows x domains at the first number of shots: top-1, mean ± deviation over seeds."""
    row = plan.rows[0]
    shots = plan.shots[0]
    settings = plan.settings(row, dataset, shots, 0, work)
    run = run_stages(settings, work, plan.run_name(row, dataset, shots, 0), until="data")
    names = domain_names(run)
    rows = []
    for row in plan.rows:
        hits = [cell[row] for cell in results[dataset, shots]]  # (domains, N) per seed
        tops = [[100 * float(seed[i].mean()) for seed in hits] for i in range(len(names))]
        rows.append([row, *map(mean_and_deviation, tops)])
    return _markdown(["row", *names], rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *others])


def checks(plan: TablePlan, results: Results) -> list[str]:
    """The paper's claims, row against row, each with its verdict."""
    lines = []
    for (dataset, shots), seeds in results.items():
        for better, worse in plan.paper.signs:
            if {better, worse} <= set(plan.rows):
                gain = paired_gain(seeds, better, worse)
                points = f"{gain.gain:+.2f} {gain.within} points"
                figures = f"{points}, seeds {list(gain.per_seed)}, p = {gain.p:.1e}"
                claim = f"{better} > {worse} on {dataset}, {shots} shots"
                lines.append(claim_line(gain.verdict, claim, figures))
    return lines


def _inferred(plan: TablePlan) -> str:
    lines = [f"- `{name}`: {why}\n" for name, why in plan.paper.inferred.items()]
    return f"## Settings that the paper does not state\n\n{''.join(lines)}" if lines else ""


def _printed(plan: TablePlan) -> str:
    """The paper's numbers on datasets that the table does not have."""
    parts = []
    for dataset, rows in plan.paper.printed.items():
        if dataset not in plan.datasets:
            printed = {k: v if isinstance(v, tuple) else (v,) for k, v in rows.items()}
            cells = [f"{k} {' / '.join(f'{x:g}' for x in v)}" for k, v in printed.items()]
            parts.append(f"On {dataset} the paper prints: " + ", ".join(cells))
    text = "\n\n".join(parts)
    return f"\n## The paper's own numbers, for orientation\n\n{text}\n" if parts else ""


def _world(plan: TablePlan) -> str:
    published = plan.paper.published
    if plan.folder:
        return "on other images than the paper's" if published else f"on {plan.folder.name}"
    if not set(plan.datasets) <= set(EMBEDDED_DATASETS):
        return "on named datasets"
    return "in the embedded miniature world" + (" and not on the paper's data" if published else "")
