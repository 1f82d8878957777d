"""The section "Budget": limits kept or missed, and the candidates of the search.

A limit that rests on an estimate says so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compress.budgets.grammar import HOST, METRICS
from compress.report.charts import budget as plots
from compress.report.charts.budget import CandidatePoint, Limits
from compress.report.model.report import Report
from compress.report.model.search import BudgetRow, CandidateRow
from compress.report.wording import ABSENT, NARROW, millijoules, milliseconds, significant, size

#: unit of a budget's value -> how it is shown
SHOWN: Mapping[str, Callable[[float], str]] = {
    "ms": milliseconds,
    "bytes": size,
    "mJ": millijoules,
    "points": lambda value: f"{value:.1f}{NARROW}points",
    "%": lambda value: f"{value:.1f}{NARROW}%",
}
#: (pass, basis) -> class of the stamp, word
OUTCOMES: Mapping[tuple[bool | None, str], tuple[str, str]] = {
    (True, "measured"): ("kept", "PASS"),
    (False, "measured"): ("missed", "FAIL"),
    (True, "estimate"): ("kept guess", "would pass"),
    (False, "estimate"): ("missed guess", "would fail"),
}
OPEN = ("open", "not known")
#: class -> stamp of all limits, the decisive one first
STAMPS: Mapping[str, str] = {
    "missed": "over budget",
    "missed guess": "over budget by estimate",
    "open": "budget open",
    "kept guess": "in budget by estimate",
    "kept": "in budget",
}


@dataclass(frozen=True)
class Panel:
    """One picture of the search: which cost, of which device, and how it is shown."""

    metric: str
    device: str | None
    axis: str
    scale: float
    shown: Callable[[float], str]

    @property
    def column(self) -> str:
        """The heading of its column."""
        return self.axis.removesuffix(", ms (log)").removesuffix(", MB (log)")


SIZE = Panel("size", None, "file, MB (log)", 1e-6, lambda mb: size(1e6 * mb))


def panels(report: Report) -> list[Panel]:
    """Latency on every device of a limit or a candidate, never mixed in a picture; then size."""
    rows = report.candidates
    devices = [row.device or HOST for row in report.budgets if row.metric == "p50"]
    devices += [HOST] if any(row.measured and row.measured.p50_ms for row in rows) else []
    devices += [row.estimate.device for row in rows if row.estimate and row.estimate.device]
    axes = {name: f"estimated p50 on {name}, ms (log)" for name in devices}
    axes |= {HOST: "p50 on this machine, ms (log)"} if HOST in axes else {}
    times = [Panel("p50", name, axis, 1.0, milliseconds) for name, axis in axes.items()]
    return [*times, SIZE]


def what(row: BudgetRow) -> str:
    """The metric of a limit in words; the limit as it was written if the metric is unknown."""
    metric = METRICS.get(row.metric or "")
    return metric.what if metric else row.what


def limit(row: BudgetRow) -> str:
    """The limit in words: "at most 0.200 ms"."""
    metric = METRICS.get(row.metric or "")
    is_upper = metric is None or metric.is_upper
    return f"{'at most' if is_upper else 'at least'} {shown(row.limit, row.unit)}"


def place(row: BudgetRow) -> str:
    """The device of a limit, in words."""
    return "this machine" if row.device == HOST else row.device or ABSENT


def shown(value: float | None, unit: str | None) -> str:
    """A value in its unit."""
    if value is None:
        return ABSENT
    words = SHOWN.get(unit or "")
    return words(value) if words else f"{significant(value)}{NARROW}{unit or ''}".rstrip(NARROW)


def outcome(row: BudgetRow) -> tuple[str, str]:
    """The stamp of a limit: its class and its word."""
    return OUTCOMES.get((row.passed, row.basis or "measured"), OPEN)


def budget_stamp(report: Report) -> tuple[str, str]:
    """The stamp of all limits: a missed one decides, then an unknown one, then an estimate."""
    styles = {outcome(row)[0] for row in report.budgets}
    return next((stamp for stamp in STAMPS.items() if stamp[0] in styles), ("open", "no budget"))


def budget_sentence(report: Report) -> str:
    """The number of kept limits, by measurement and by estimate, and the missed ones."""
    rows = report.budgets
    if not rows:
        return "No limit was set for this run: compress build --budget sets one."
    kept = [row for row in rows if row.passed]
    guessed = sum(row.basis == "estimate" for row in kept)
    by = f", {guessed} of them by estimate only" if guessed else ""
    text = f"{len(kept)} of {len(rows)} {'limit is' if len(rows) == 1 else 'limits are'} kept{by}."
    missed, unknown = [], []
    for row in rows:
        name = f"{what(row)} on {place(row)}" if row.device else what(row)
        value, limit = shown(row.value, row.unit), shown(row.limit, row.unit)
        kind = " (estimate)" if row.basis == "estimate" else ""
        missed += [f"{name}, {value}{kind} against {limit}"] if row.passed is False else []
        unknown += [name] if row.passed is None else []
    text += f" Missed: {'; '.join(missed)}." if missed else ""
    return text + (f" Not known: {'; '.join(unknown)}." if unknown else "")


def cost(row: CandidateRow, panel: Panel) -> tuple[float, bool] | None:
    """(value, is it an estimate) of a candidate on the panel's device; None if not known."""
    if panel is SIZE:
        value = row.size_bytes or (row.measured.size_bytes if row.measured else None)
        return (value, row.precision == "fp16") if value else None  # fp16: half of the fp32 file
    here = panel.device == HOST
    found = row.measured if here else row.estimate
    if not found or found.device != panel.device or not found.p50_ms:
        return None
    return found.p50_ms, not here


def candidate_name(row: CandidateRow) -> str:
    """Student, resolution and precision: "mobilenetv4_conv_small 224 int8"."""
    return " ".join(str(part) for part in (row.student, row.size, row.precision) if part)


def candidate_points(report: Report, panel: Panel) -> list[CandidatePoint]:
    """The candidates whose cost is known."""
    return [
        CandidatePoint(candidate_name(row), panel.scale * found[0], row.top1, found[1], row.status)
        for row in report.candidates
        if (found := cost(row, panel))
    ]


def pareto_plots(report: Report) -> list[str]:
    """One picture per panel with candidates of known cost."""
    return [
        plots.pareto(points, limits(report, panel), panel.axis, panel.shown)
        for panel in panels(report)
        if (points := candidate_points(report, panel))
    ]


def limits(report: Report, panel: Panel) -> Limits:
    """The lines of a picture: the tightest limit of its axis, and the least top-1 allowed."""
    rows, teacher = report.budgets, report.teacher.top1
    own = [row for row in rows if row.metric == panel.metric]
    most = [row.limit for row in own if panel is SIZE or (row.device or HOST) == panel.device]
    least = [row.limit / 100 for row in rows if row.metric == "top1"]
    if teacher is not None:
        least += [teacher - row.limit / 100 for row in rows if row.metric == "drop"]
    return Limits(panel.scale * min(most) if most else None, max(least, default=None), teacher)


def candidates(report: Report) -> list[CandidateRow]:
    """The candidates, the chosen one first."""
    order = ("chosen", "trained", "pruned")
    return sorted(report.candidates, key=lambda row: (order.index(row.status), -(row.top1 or 0.0)))


def cost_words(row: CandidateRow, panel: Panel) -> tuple[str, bool]:
    """(words, is it an estimate) of a candidate's cost."""
    found = cost(row, panel)
    return (panel.shown(panel.scale * found[0]), found[1]) if found else (ABSENT, False)


def search_sentence(report: Report) -> str:
    """The numbers of candidates considered, dropped and trained, and the chosen one."""
    rows = report.candidates
    if not rows:
        return ""
    dropped = sum(row.status == "pruned" for row in rows)
    chosen = next((candidate_name(row) for row in rows if row.status == "chosen"), None)
    end = f"Chosen: {chosen}" if chosen else "None was chosen"
    return (
        f"{len(rows)} candidates (student, resolution, precision) were considered; {dropped} were "
        f"dropped, {len(rows) - dropped} trained. {end}."
    )
