"""The section "Budget": limits kept or missed, and the candidates of the search.

Rows and words from report.json alone. A limit that rests on an estimate says so wherever it is
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compress.budgets.grammar import HOST, METRICS
from compress.report.charts import budget as plots_budget
from compress.report.charts.budget import Candidate, Limits
from compress.report.wording import ABSENT, NARROW, milliseconds, percent, significant, size

#: unit of a budget's value -> how it is shown
SHOWN: Mapping[str, Callable[[float], str]] = {
    "ms": milliseconds,
    "bytes": size,
    "mJ": lambda v: f"{significant(v)}{NARROW}mJ",
    "points": lambda v: f"{v:.1f}{NARROW}points",
    "%": lambda v: f"{v:.1f}{NARROW}%",
}
#: (pass, basis) -> class of the stamp, word
OUTCOMES: Mapping[tuple[bool | None, str], tuple[str, str]] = {
    (True, "measured"): ("kept", "PASS"),
    (False, "measured"): ("missed", "FAIL"),
    (True, "estimate"): ("kept guess", "would pass"),
    (False, "estimate"): ("missed guess", "would fail"),
}
OPEN = ("open", "not known")


def view(report: Mapping[str, Any], drawn: bool = True) -> dict[str, Any]:
    """What the templates ask for about budgets and the search."""
    from markupsafe import Markup

    found: dict[str, Any] = {
        "budget_rows": budget_rows(report),
        "budget_stamp": budget_stamp(report),
        "budget_sentence": budget_sentence(report),
        "candidate_rows": candidate_rows(report),
        "candidate_columns": candidate_columns(report),
        "candidate_sentence": candidate_sentence(report),
        "paretos": [],
    }
    if drawn:
        found["paretos"] = [
            Markup(plots_budget.pareto(points, limits(report, panel), panel.axis, panel.shown))
            for panel in panels(report)
            if (points := candidates(report, panel))
        ]
    return found


@dataclass(frozen=True)
class Panel:
    """One picture of the search: which cost, of which device, and how it is shown."""

    metric: str
    device: str | None
    axis: str
    scale: float
    shown: Callable[[float], str]


SIZE = Panel("size", None, "file, MB (log)", 1e-6, lambda mb: size(1e6 * mb))


def panels(report: Mapping[str, Any]) -> list[Panel]:
    """Latency on every device that a limit or a candidate names, then size. Devices are never mixed
    in one picture.
    """
    rows = report.get("candidates", [])
    named = [row.get("device") or HOST for row in report["budgets"] if row.get("metric") == "p50"]
    named += [HOST] if any((row.get("measured") or {}).get("p50_ms") for row in rows) else []
    named += [
        row["estimate"]["device"] for row in rows if (row.get("estimate") or {}).get("device")
    ]
    out = []
    for name in dict.fromkeys(named):
        axis = (
            "p50 on this machine, ms (log)"
            if name == HOST
            else f"estimated p50 on {name}, ms (log)"
        )
        out.append(Panel("p50", name, axis, 1.0, milliseconds))
    return [*out, SIZE]


def budget_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per limit: what, device, limit, value, basis, class and word of its stamp, why."""
    return [
        {
            "what": what(row),
            "device": place(row),
            "limit": f"{'at most' if upper(row) else 'at least'} "
            f"{shown(row['limit'], row.get('unit'))}",
            "value": shown(row["value"], row.get("unit")),
            "basis": row.get("basis") or ABSENT,
            "class": outcome(row)[0],
            "word": outcome(row)[1],
            "why": row.get("why") or "",
        }
        for row in report["budgets"]
    ]


def what(row: Mapping[str, Any]) -> str:
    """The metric of a limit in words; the limit as it was written where the metric is unknown."""
    metric = METRICS.get(row.get("metric") or "")
    return metric.what if metric else str(row["what"])


def upper(row: Mapping[str, Any]) -> bool:
    """Whether less is better."""
    metric = METRICS.get(row.get("metric") or "")
    return metric is None or metric.upper


def place(row: Mapping[str, Any]) -> str:
    """The device of a limit, in words."""
    name = row.get("device")
    return ABSENT if not name else "this machine" if name == HOST else str(name)


def shown(value: float | None, unit: str | None) -> str:
    """A value in its unit."""
    if value is None:
        return ABSENT
    words = SHOWN.get(unit or "")
    return words(value) if words else f"{significant(value)}{NARROW}{unit or ''}".rstrip(NARROW)


def outcome(row: Mapping[str, Any]) -> tuple[str, str]:
    """The stamp of a limit: its class and its word."""
    return OUTCOMES.get((row["pass"], row.get("basis") or "measured"), OPEN)


def budget_stamp(report: Mapping[str, Any]) -> tuple[str, str]:
    """The stamp of all limits together: one that is missed decides, then one that is not known,
    then an estimate.
    """
    rows = report["budgets"]
    if not rows:
        return "open", "no budget"
    words = [outcome(row) for row in rows]
    if any(class_.startswith("missed") for class_, _ in words):
        measured = any(class_ == "missed" for class_, _ in words)
        return (
            ("missed", "over budget") if measured else ("missed guess", "over budget by estimate")
        )
    if OPEN in words:
        return "open", "budget open"
    if any(class_.endswith("guess") for class_, _ in words):
        return "kept guess", "in budget by estimate"
    return "kept", "in budget"


def budget_sentence(report: Mapping[str, Any]) -> str:
    """How many limits are kept, by measurement and by estimate, and which are missed."""
    rows = report["budgets"]
    if not rows:
        return "No limit was set for this run: compress build --budget sets one."
    kept = [row for row in rows if row["pass"]]
    guessed = sum(row.get("basis") == "estimate" for row in kept)
    by = f", {guessed} of them by estimate only" if guessed else ""
    text = f"{len(kept)} of {len(rows)} {'limit is' if len(rows) == 1 else 'limits are'} kept{by}."
    missed = [_missed(row) for row in rows if row["pass"] is False]
    unknown = [f"{what(row)}{where(row)}" for row in rows if row["pass"] is None]
    text += f" Missed: {'; '.join(missed)}." if missed else ""
    return text + (f" Not known: {'; '.join(unknown)}." if unknown else "")


def _missed(row: Mapping[str, Any]) -> str:
    kind = " (estimate)" if row.get("basis") == "estimate" else ""
    return (
        f"{what(row)}{where(row)}, {shown(row['value'], row.get('unit'))}{kind} against "
        f"{shown(row['limit'], row.get('unit'))}"
    )


def where(row: Mapping[str, Any]) -> str:
    """ " on orin-nano", or nothing for a limit that no device has a part in."""
    return f" on {place(row)}" if row.get("device") else ""


def cost(row: Mapping[str, Any], panel: Panel) -> tuple[float, bool] | None:
    """(value, is it an estimate) of a candidate; None where it is not known of the panel's
    device.
    """
    if panel is SIZE:
        value = row.get("size_bytes") or (row.get("measured") or {}).get("size_bytes")
        return (
            (float(value), row["precision"] == "fp16") if value else None
        )  # fp16: half of the fp32 file
    told = row.get("measured" if panel.device == HOST else "estimate") or {}
    if told.get("device") != panel.device or not told.get("p50_ms"):
        return None
    return float(told["p50_ms"]), panel.device != HOST


def candidate_name(row: Mapping[str, Any]) -> str:
    """ "mobilenetv4_conv_small 224 int8"."""
    return " ".join(
        str(part) for part in (row["student"], row.get("size"), row["precision"]) if part
    )


def candidates(report: Mapping[str, Any], panel: Panel) -> list[Candidate]:
    """The candidates whose cost is known."""
    return [
        Candidate(
            candidate_name(row), panel.scale * found[0], row.get("top1"), found[1], row["status"]
        )
        for row in report.get("candidates", [])
        if (found := cost(row, panel))
    ]


def limits(report: Mapping[str, Any], panel: Panel) -> Limits:
    """The lines of a picture: the tightest limit of its axis, and the least top-1 that "top1" and
    "drop" allow.
    """
    rows, teacher = report["budgets"], report["teacher"].get("top1")
    most = [
        row["limit"]
        for row in rows
        if row.get("metric") == panel.metric
        and (panel is SIZE or (row.get("device") or HOST) == panel.device)
    ]
    least = [row["limit"] / 100 for row in rows if row.get("metric") == "top1"]
    if teacher is not None:
        least += [teacher - row["limit"] / 100 for row in rows if row.get("metric") == "drop"]
    return Limits(panel.scale * min(most) if most else None, max(least, default=None), teacher)


STATUS_ORDER = ("chosen", "trained", "pruned")


def candidate_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per candidate, the chosen one first; costs are [(words, is it an estimate)] in the
    order of the panels.
    """
    order = sorted(
        report.get("candidates", []),
        key=lambda row: (STATUS_ORDER.index(row["status"]), -(row.get("top1") or 0.0)),
    )
    return [
        {
            "name": candidate_name(row),
            "status": row["status"],
            "top1": percent(row.get("top1")),
            "costs": [_cost(row, panel) for panel in panels(report)],
            "why": row.get("why") or "",
        }
        for row in order
    ]


def candidate_columns(report: Mapping[str, Any]) -> list[str]:
    """The headings of those costs."""
    return [
        panel.axis.removesuffix(", ms (log)").removesuffix(", MB (log)") for panel in panels(report)
    ]


def _cost(row: Mapping[str, Any], panel: Panel) -> tuple[str, bool]:
    found = cost(row, panel)
    return (panel.shown(panel.scale * found[0]), found[1]) if found else (ABSENT, False)


def candidate_sentence(report: Mapping[str, Any]) -> str:
    """How many were considered, trained and dropped."""
    rows = report.get("candidates", [])
    if not rows:
        return ""
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUS_ORDER}
    chosen = next((candidate_name(row) for row in rows if row["status"] == "chosen"), None)
    considered = f"{len(rows)} candidates (student, resolution, precision) were considered"
    text = (
        f"{considered}; {counts['pruned']} were dropped, "
        f"{counts['trained'] + counts['chosen']} trained."
    )
    return text + (f" Chosen: {chosen}." if chosen else " None was chosen.")
