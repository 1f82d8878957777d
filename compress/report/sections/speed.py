"""The section "Speed": spread, breakdown and cold start, in rows and in words, from report.json
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report import wording
from compress.report.charts import speed as plots_speed
from compress.report.charts.speed import PARTS, Curve, Start
from compress.report.wording import (
    compute_row,
    form,
    milliseconds,
    p50_of,
    percent,
    row_form,
    size,
    times,
)

TAIL = 1.5  # p99 over p50 that is worth a word


def view(report: Mapping[str, Any], drawn: bool = True) -> dict[str, Any]:
    """What the templates ask for about time."""
    from markupsafe import Markup

    found = {
        "latency": [
            {**row, "form": row_form(row), "inside": _inside(row)} for row in report["latency"]
        ],
        "stamp_sentence": stamp_sentence(report),
        "spread_sentence": spread_sentence(report),
        "breakdown_rows": breakdown_rows(report),
        "breakdown_sentence": breakdown_sentence(report),
        "start_rows": start_rows(report),
        "start_sentence": start_sentence(report),
        "has_energy": any(row.get("energy") for row in report["latency"]),
        "ecdf": [],
        "ecdf_names": [],
        "breakdown": [],
        "starts": [],
    }
    if not drawn:
        return found
    lines, parts, rows = curves(report), shares(report), starts(report)
    wide_and_narrow: tuple[tuple[str, int], ...] = (("wide", 960), ("narrow", 380))
    if lines:
        found["ecdf"] = [
            (class_, Markup(plots_speed.ecdf(lines, width))) for class_, width in wide_and_narrow
        ]
        found["ecdf_names"] = [line.name for line in lines]
    if parts:
        found["breakdown"] = [
            (class_, Markup(plots_speed.breakdown(parts, width)))
            for class_, width in wide_and_narrow
        ]
    if rows:
        found["starts"] = [
            (class_, Markup(plots_speed.starts(rows, width))) for class_, width in wide_and_narrow
        ]
    return found


def curves(report: Mapping[str, Any]) -> list[Curve]:
    """The compute series of one image at the fewest threads, in the order of tables."""
    rows = [
        row
        for row in report["latency"]
        if row["includes"] == wording.COMPUTE and row["batch"] == 1 and row.get("quantiles_ms")
    ]
    least = min((row["threads"] for row in rows), default=1)
    chosen = {row_form(row): row for row in rows if row["threads"] == least}
    return [
        Curve(name, chosen[name]["quantiles_ms"], chosen[name]["n"])
        for name in wording.FORMS
        if name in chosen
    ]


def spread_sentence(report: Mapping[str, Any]) -> str:
    """How far the shipped form's slow calls lie from its usual ones."""
    row = compute_row(report, report["student"]["shipped"])
    if row is None or not row["p50_ms"] or not row["p99_ms"]:
        return ""
    ratio = row["p99_ms"] / row["p50_ms"]
    name = form(report["student"]["shipped"])
    weight = (
        "one call in a hundred takes longer than" if ratio >= TAIL else "99 of 100 calls stay below"
    )
    return (
        f"Of {row['n']:,} calls of {name}, {weight} {milliseconds(row['p99_ms'])}, "
        f"{times(ratio)} its median."
    )


def breakdown_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per form: form, parts [(ms, share)], total, and what was not seen in any part."""
    rows = []
    for name, told in broken_down(report).items():
        spent = {part: told[f"{part}_ms"] for part in PARTS}
        total, bare = told["end_to_end_ms"], told.get("over_bare")
        rows.append(
            {
                "key": name,
                "form": form(name),
                "parts": [
                    (
                        milliseconds(v) if v else wording.ABSENT,
                        percent(v / total if total else None, 0),
                    )
                    for v in spent.values()
                ],
                "total": milliseconds(total),
                "bare": f"{bare:.2f}×" if bare else wording.ABSENT,
                "bare_ci95": "–".join(f"{value:.2f}" for value in told.get("over_bare_ci95") or ()),
                "n": told["n"],
            }
        )
    return rows


def shares(report: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Form -> part -> ms."""
    return {
        name: {part: float(told[f"{part}_ms"]) for part in PARTS}
        for name, told in broken_down(report).items()
    }


def broken_down(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Form -> its entry in report.json "breakdown", which names students by their precision."""
    told = report.get("breakdown") or {}
    return {
        key if key == "teacher" else f"student_{key.replace('.', '_')}": value
        for key, value in told.items()
    }


def breakdown_sentence(report: Mapping[str, Any]) -> str:
    """What the network's share of one image's time is, for the form that ships."""
    shipped = report["student"]["shipped"]
    parts = shares(report).get(shipped)
    if not parts or not sum(parts.values()):
        return ""
    total, compute = sum(parts.values()), parts["compute"]
    largest = max(parts, key=lambda part: parts[part])
    text = (
        f"From encoded image to answer, the network takes {percent(compute / total, 0)} of "
        f"the time of {form(shipped)}"
    )
    if largest != "compute":
        return (
            f"{text}; {PARTS[largest]} takes most ({percent(parts[largest] / total, 0)}): "
            "a faster network gains little."
        )
    return f"{text}."


def start_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per form: key, form, import, load, first image, whole process, peak memory, warm
    p50.
    """
    return [
        {
            "key": name,
            "form": form(name),
            "import": milliseconds(cold.get("import_ms")),
            "load": milliseconds(cold.get("load_ms")),
            "first": milliseconds(cold.get("first_ms")),
            "process": milliseconds(cold.get("process_ms")),
            "memory": size(cold.get("peak_rss_bytes")),
            "warm": milliseconds(p50_of(report, name)),
        }
        for name in wording.FORMS
        if (cold := report.get("cold", {}).get(name))
    ]


def starts(report: Mapping[str, Any]) -> list[Start]:
    """Every form that was started in a process of its own."""
    return [
        Start(
            name,
            p50_of(report, name),
            cold.get("first_ms"),
            cold.get("load_ms"),
            cold.get("process_ms"),
        )
        for name in wording.FORMS
        if (cold := report.get("cold", {}).get(name))
    ]


def start_sentence(report: Mapping[str, Any]) -> str:
    """What a process that did not exist before pays for the first answer of the shipped form."""
    shipped = report["student"]["shipped"]
    cold, warm = report.get("cold", {}).get(shipped), p50_of(report, shipped)
    if not cold or not cold.get("process_ms"):
        return ""
    text = f"A new process answers with {form(shipped)} after {milliseconds(cold['process_ms'])}"
    memory = (
        f" and holds {size(cold['peak_rss_bytes'])} at most" if cold.get("peak_rss_bytes") else ""
    )
    first = (
        f"; its first image takes {milliseconds(cold['first_ms'])}" if cold.get("first_ms") else ""
    )
    return f"{text}{memory}{first}{f', later ones {milliseconds(warm)}' if first and warm else ''}."


def stamp_sentence(report: Mapping[str, Any]) -> str:
    """What the stamps say, with the first reason where one is not VALID."""
    stamped = [row for row in report["latency"] if row["verdict"] != "VALID"]
    if not stamped:
        return "Every series is stamped VALID."
    why = f" ({stamped[0]['reason']})" if stamped[0].get("reason") else ""
    return (
        f"{len(stamped)} of {len(report['latency'])} series are not stamped VALID{why}: "
        "read those with care."
    )


def _inside(row: Mapping[str, Any]) -> str:
    """Words for what a latency contains; the long list of steps stands in the section's
    introduction.
    """
    if row["includes"] == wording.COMPUTE:
        return wording.COMPUTE
    return f"end to end ({row['image']})" if row.get("image") else "end to end"
