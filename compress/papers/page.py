"""The Markdown page of a finished table: numbers, verdicts on claims, inferred settings."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from compress.api import run_stages
from compress.engine.options import EMBEDDED_DATASETS
from compress.engine.versions import versions
from compress.papers.cells import MEASURES, domain_names
from compress.papers.methods import AVERAGE, Paper, Shots
from compress.papers.reproduce import Results, TablePlan
from compress.papers.sizes import size_cells
from compress.papers.statistics import claim_line, mean_and_deviation, paired_gain


def page(plan: TablePlan, results: Results, work: Path, minutes: float) -> str:
    """The page of a finished table."""
    paper = plan.paper
    if paper.measured_on == "sizes":
        return _page_of_sizes(plan)
    tables = [f"### {dataset}\n\n{table(plan, results, dataset)}" for dataset in plan.datasets]
    if len(plan.datasets) > 1:
        tables.append(f"### Average of all\n\n{table(plan, results, AVERAGE)}")
    text = "\n\n".join(tables)
    if paper.measured_on == "domains":
        for dataset in plan.datasets:
            text += f"\n\nBy domain:\n\n{domain_table(plan, results, work, dataset)}"
    shown = ("torch", "onnxruntime", "python")
    stamp = ", ".join(f"{name} {v}" for name, v in versions().items() if name in shown)
    verdicts = "\n".join(checks(plan, results))
    claims = f"""## {"The paper's order" if paper.published else "What was expected"}, checked

{verdicts}

"holds": the 95 % interval of the paired difference over seeds lies above zero. "not shown": it \
contains zero. "FAILS": the mean
difference has the other sign.

"""
    return f"""{_title(paper)}

{paper.where}. `{plan.command}`

{"A replica with inferred settings, made" if paper.published else "Made"} {_world(plan)}.
Top-1 in % {MEASURES[paper.measured_on].words}, mean ± standard deviation over {plan.seeds} seeds, \
measured with the exported
ONNX file in the runtime; the same number of updates in every row.
{_reading(plan)}
{text}

{claims if verdicts else ""}{_inferred(plan)}{_not_made(paper)}{_printed(plan)}
Made in {minutes:.0f} minutes on {platform.machine()}, {stamp}. Work that was already in the work \
folder was not done again.
"""


def _page_of_sizes(plan: TablePlan) -> str:
    return f"""{_title(plan.paper)}

{plan.paper.where}. `{plan.command}`

Parameters in millions and operations in 10⁹ for one image or one text, counted from the networks'
shapes by this project's code; a multiply-accumulate is two operations.

{_markdown(*size_cells(plan))}
{_not_made(plan.paper)}"""


def _title(paper: Paper) -> str:
    title = f"# {f'System {paper.system}: ' if paper.published else ''}{paper.title}"
    return f"{title}\n\n{paper.caption}" if paper.caption else title


def _reading(plan: TablePlan) -> str:
    """How to read rows and cells that are not a student of the paper's table."""
    paper = plan.paper
    answers = {paper.answer(row) for row in plan.rows}
    told = [
        (bool(set(paper.extra) & set(plan.rows)), "Rows with * are not in the paper."),
        ("teacher" in answers, "A teacher's row is its own accuracy: no student is built."),
        ("sampling" in answers, "Sampled rows are read from the denoiser, not the exported file."),
        (bool(paper.printed), "Printed: the paper's figure; -: the paper has none, or no cell."),
    ]
    return "".join(f"{text}\n" for holds, text in told if holds)


def table(plan: TablePlan, results: Results, dataset: str) -> str:
    """Rows x shots: top-1, mean ± deviation over seeds, and the printed number if there is one.

    Args:
        dataset: one of the plan's, or ``AVERAGE`` of all.
    """
    paper = plan.paper
    beside = _beside(plan, dataset)
    head = ["row", "strategy", "objective"]
    for shots in plan.shots:
        head += [f"{shots} shots", *beside]
    unmade = [
        row for row in paper.not_made if any(row in paper.printed[name] for name in beside.values())
    ]
    rows = []
    for row in (*plan.rows, *unmade):
        name = f"{row} *" if row in paper.extra else row
        cells = [name, *(("-", "-") if row in unmade else _method(plan, row))]
        for shots in plan.shots:
            tops = [] if row in unmade else _tops(plan, results, dataset, row, shots)
            nothing = "not made" if row in unmade else "-"
            cells.append(mean_and_deviation(tops) if tops else nothing)
            cells += [_figure(paper, place, row, shots) for place in beside.values()]
        rows.append(cells)
    return _markdown(head, rows, 3)


def _beside(plan: TablePlan, dataset: str) -> dict[str, str]:
    """The columns of the paper's figures beside ours: heading -> dataset of the paper.

    Its own figure of the dataset; for another dataset its average, or that of each of its own.
    """
    printed = plan.paper.printed
    if dataset in printed:
        return {"printed": dataset}
    if AVERAGE in printed:
        return {"paper's average": AVERAGE}
    return {f"paper: {name}": name for name in printed} if dataset != AVERAGE else {}


def _figure(paper: Paper, dataset: str, row: str, shots: Shots) -> str:
    number = paper.printed_top1(dataset, row, shots)
    return "-" if number is None else f"{number:g}"


def _method(plan: TablePlan, row: str) -> tuple[str, str]:
    """The strategy and the objective of a row, as it is made."""
    if plan.paper.answer(row) == "teacher":
        return "-", "the teacher"
    settings = plan.settings(row, plan.datasets[0], plan.shots[0], 0, Path())
    sampled = ", sampled" if plan.paper.answer(row) == "sampling" else ""
    return settings.generate.strategy, settings.distill.objective + sampled


def _tops(plan: TablePlan, results: Results, dataset: str, row: str, shots: Shots) -> list[float]:
    """Top-1 in % of a cell by seed, or the means over all datasets; none without the cell."""
    datasets = plan.datasets if dataset == AVERAGE else (dataset,)
    if row not in plan.rows_at(shots):
        return []
    each = [[100 * float(seed[row].mean()) for seed in results[name, shots]] for name in datasets]
    return [sum(tops) / len(tops) for tops in zip(*each, strict=True)]


def domain_table(plan: TablePlan, results: Results, work: Path, dataset: str) -> str:
    """Rows x domains at the first number of shots: top-1, mean ± deviation over seeds."""
    shots = plan.shots[0]
    rows = plan.rows_at(shots)
    settings = plan.settings(rows[0], dataset, shots, 0, work)
    run = run_stages(settings, work, plan.run_name(rows[0], dataset, shots, 0), until="data")
    names = domain_names(run)
    lines = []
    for row in rows:
        hits = [cell[row] for cell in results[dataset, shots]]  # (domains, N) per seed
        tops = [[100 * float(seed[i].mean()) for seed in hits] for i in range(len(names))]
        lines.append([row, *map(mean_and_deviation, tops)])
    return _markdown(["row", *names], lines)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose columns are aligned as plain text too; numbers, after ``left``, to the right.

    A bar in a cell would end it.
    """
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[i]) for row in lines)) for i in range(len(head))]
    sides = ["<" if i < left else ">" for i in range(len(head))]
    text = [
        " | ".join(f"{c:{side}{w}}" for c, side, w in zip(row, sides, widths, strict=True))
        for row in lines
    ]
    rule = " | ".join(
        "-" * w if side == "<" else "-" * (w - 1) + ":"
        for side, w in zip(sides, widths, strict=True)
    )
    return "\n".join(f"| {line} |" for line in (text[0], rule, *text[1:]))


def checks(plan: TablePlan, results: Results) -> list[str]:
    """The paper's claims, row against row, each with its verdict."""
    lines = []
    for (dataset, shots), seeds in results.items():
        for better, worse in plan.paper.signs:
            if {better, worse} <= set(plan.rows_at(shots)):
                gain = paired_gain(seeds, better, worse)
                points = f"{gain.gain:+.2f} {gain.within} points"
                figures = f"{points}, seeds {list(gain.per_seed)}, p = {gain.p:.1e}"
                claim = f"{better} > {worse} on {dataset}, {shots} shots"
                lines.append(claim_line(gain.verdict, claim, figures))
    return lines


def _inferred(plan: TablePlan) -> str:
    lines = [f"- `{name}`: {why}\n" for name, why in plan.paper.inferred.items()]
    return f"## Settings that the paper does not state\n\n{''.join(lines)}" if lines else ""


def _not_made(paper: Paper) -> str:
    lines = [f"- {name}: {why}\n" for name, why in paper.not_made.items()]
    return f"\n## Not made here\n\n{''.join(lines)}" if lines else ""


def _printed(plan: TablePlan) -> str:
    """The paper's numbers that do not stand beside ours."""
    paper = plan.paper
    shown = {name for dataset in plan.datasets for name in _beside(plan, dataset).values()}
    datasets = [name for name in paper.printed if name not in {*shown, AVERAGE}]
    if not datasets:
        return ""
    shots = paper.scales["full"].shots
    head = [name if len(shots) == 1 else f"{name} {at}" for name in datasets for at in shots]
    rows = dict.fromkeys(row for name in datasets for row in paper.printed[name])
    lines = [
        [row, *(_figure(paper, name, row, at) for name in datasets for at in shots)] for row in rows
    ]
    text = _markdown(["row", *head], lines)
    return f"\n## The paper's own numbers, for orientation\n\n{text}\n"


def _world(plan: TablePlan) -> str:
    published = plan.paper.published
    if plan.folder:
        return "on other images than the paper's" if published else f"on {plan.folder.name}"
    if not set(plan.datasets) <= set(EMBEDDED_DATASETS):
        return "on named datasets"
    return "in the embedded miniature world" + (" and not on the paper's data" if published else "")
