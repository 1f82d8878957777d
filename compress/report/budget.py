"""The section "Budget": limits kept or missed, the candidates of the search, the mixtures of int8 and float.

Rows and words from report.json alone. A limit that rests on an estimate says so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compress.report import plots_budget
from compress.report.plots_budget import Candidate, Limits, Mixture
from compress.report.wording import ABSENT, NARROW, milliseconds, percent, points, significant, size

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
    """What the templates ask for about budgets, the search and mixtures."""
    from markupsafe import Markup

    found: dict[str, Any] = {
        "budget_rows": budget_rows(report),
        "budget_stamp": budget_stamp(report),
        "budget_sentence": budget_sentence(report),
        "candidate_rows": candidate_rows(report),
        "candidate_sentence": candidate_sentence(report),
        "mixture_rows": mixture_rows(report),
        "block_rows": block_rows(report),
        "paretos": [],
        "mixtures": None,
    }
    if not drawn:
        return found
    for metric, axis, key in (("p50", "latency p50, ms (log)", "p50_ms"), ("size", "file, MB (log)", "size_bytes")):
        scale, shown = (1.0, milliseconds) if metric == "p50" else (1e-6, lambda mb: size(1e6 * mb))
        points_ = candidates(report, key, scale)
        if points_:
            found["paretos"].append(Markup(plots_budget.pareto(points_, limits(report, metric, scale), axis, shown)))
    told = report.get("sensitivity")
    if told and len(told["front"]) > 1:
        timed = all(point["p50_ms"] for point in told["front"])
        mixed = [
            Mixture(
                mixture_name(point), point["p50_ms"] if timed else point["size_bytes"] / 1e6, point["top1"], i == told["chosen"]
            )
            for i, point in enumerate(told["front"])
        ]  # fmt: skip
        found["mixtures"] = Markup(plots_budget.front(mixed, "latency p50, ms" if timed else "file, MB"))
    return found


def budget_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per limit: what, device, limit, value, basis, class and word of its stamp, why."""
    return [
        {
            "what": row["what"],
            "device": row.get("device") or ABSENT,
            "limit": shown(row["limit"], row.get("unit")),
            "value": shown(row["value"], row.get("unit")),
            "basis": row.get("basis") or ABSENT,
            "class": outcome(row)[0],
            "word": outcome(row)[1],
            "why": row.get("why") or "",
        }
        for row in report["budgets"]
    ]


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
    """The stamp of all limits together: one that is missed decides, then one that is not known, then an estimate."""
    rows = report["budgets"]
    if not rows:
        return "open", "no budget"
    words = [outcome(row) for row in rows]
    if any(class_.startswith("missed") for class_, _ in words):
        measured = any(class_ == "missed" for class_, _ in words)
        return ("missed", "over budget") if measured else ("missed guess", "over budget by estimate")
    if OPEN in words:
        return "open", "budget open"
    if any(class_.endswith("guess") for class_, _ in words):
        return "kept guess", "in budget by estimate"
    return "kept", "in budget"


def budget_sentence(report: Mapping[str, Any]) -> str:
    """How many limits are kept, by measurement and by estimate, and which are missed."""
    rows = report["budgets"]
    if not rows:
        return 'No limit was set for this run (--budget "p50<=5ms, size<=6MB, drop<=2pt").'
    kept = [row for row in rows if row["pass"]]
    guessed = sum(row.get("basis") == "estimate" for row in kept)
    by = f", {guessed} of them by estimate only" if guessed else ""
    text = f"{len(kept)} of {len(rows)} {'limit is' if len(rows) == 1 else 'limits are'} kept{by}."
    missed = [_missed(row) for row in rows if row["pass"] is False]
    unknown = [row["what"] for row in rows if row["pass"] is None]
    text += f" Missed: {'; '.join(missed)}." if missed else ""
    return text + (f" Not known: {'; '.join(unknown)}." if unknown else "")


def _missed(row: Mapping[str, Any]) -> str:
    where = f" on {row['device']}" if row.get("device") else ""
    kind = " (estimate)" if row.get("basis") == "estimate" else ""
    return f"{row['what']}{where}, {shown(row['value'], row.get('unit'))}{kind} against {shown(row['limit'], row.get('unit'))}"


def cost(candidate: Mapping[str, Any], key: str) -> tuple[float, bool] | None:
    """(value, is it an estimate) of a candidate's cost; what was measured goes before what was estimated."""
    for source, guessed in (("measured", False), ("estimate", True)):
        value = (candidate.get(source) or {}).get(key)
        if isinstance(value, int | float) and value > 0:
            return float(value), guessed
    return None


def candidate_name(row: Mapping[str, Any]) -> str:
    """ "mobilenetv4_conv_small 224 int8"."""
    return " ".join(str(part) for part in (row["student"], row.get("size"), row["precision"]) if part)


def candidates(report: Mapping[str, Any], key: str, scale: float) -> list[Candidate]:
    """The candidates whose cost is known in one way or the other."""
    return [
        Candidate(candidate_name(row), scale * found[0], row.get("top1"), found[1], row["status"])
        for row in report.get("candidates", [])
        if (found := cost(row, key))
    ]


def limits(report: Mapping[str, Any], metric: str, scale: float) -> Limits:
    """The lines of a picture: the tightest limit of its axis, and the least top-1 that "top1" and "drop" allow."""
    upper = [row["limit"] for row in report["budgets"] if row.get("metric") == metric]
    teacher = report["teacher"].get("top1")
    least = [row["limit"] / 100 for row in report["budgets"] if row.get("metric") == "top1"]
    if teacher is not None:
        least += [teacher - row["limit"] / 100 for row in report["budgets"] if row.get("metric") == "drop"]
    return Limits(scale * min(upper) if upper else None, max(least, default=None), teacher)


STATUS_ORDER = ("chosen", "trained", "pruned")


def candidate_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per candidate, the chosen one first; estimates are marked."""
    order = sorted(
        report.get("candidates", []), key=lambda row: (STATUS_ORDER.index(row["status"]), -(row.get("top1") or 0.0))
    )
    return [
        {
            "name": candidate_name(row),
            "status": row["status"],
            "top1": percent(row.get("top1")),
            "p50": _cost(row, "p50_ms", milliseconds),
            "size": _cost(row, "size_bytes", size),
            "why": row.get("why") or "",
        }
        for row in order
    ]


def _cost(row: Mapping[str, Any], key: str, words: Callable[[float], str]) -> tuple[str, bool]:
    found = cost(row, key)
    return (words(found[0]), found[1]) if found else (ABSENT, False)


def candidate_sentence(report: Mapping[str, Any]) -> str:
    """How many were considered, trained and dropped."""
    rows = report.get("candidates", [])
    if not rows:
        return ""
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUS_ORDER}
    chosen = next((candidate_name(row) for row in rows if row["status"] == "chosen"), None)
    trained = counts["trained"] + counts["chosen"]
    text = (
        f"{len(rows)} candidates were considered; {counts['pruned']} were dropped before training, {trained} trained."
    )
    return text + (f" Chosen: {chosen}." if chosen else " None was chosen.")


def mixture_name(point: Mapping[str, Any]) -> str:
    """ "all int8", "2 blocks float"."""
    count = len(point["float_blocks"])
    return f"{count} {'block' if count == 1 else 'blocks'} float" if count else "all int8"


def mixture_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per mixture of the front."""
    told = report.get("sensitivity")
    return [
        {
            "name": mixture_name(point), "blocks": ", ".join(point["float_blocks"]) or ABSENT, "top1": percent(point["top1"]),
            "p50": milliseconds(point["p50_ms"]), "size": size(point["size_bytes"]), "chosen": i == told["chosen"],
        }
        for i, point in enumerate(told["front"])
    ] if told else []  # fmt: skip


def block_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per block, the most sensitive first: block, points lost in int8, ms saved, kept."""
    told = report.get("sensitivity")
    rows = sorted(told["blocks"], key=lambda row: -row["drop_points"]) if told else []
    return [
        {
            "block": row["block"], "drop": points(-row["drop_points"] / 100, 2), "kept": row["kept"],
            "saved": ABSENT if row["saved_ms"] is None else f"{row['saved_ms']:+.4g}{NARROW}ms".replace("-", "−"),
        }
        for row in rows
    ]  # fmt: skip
