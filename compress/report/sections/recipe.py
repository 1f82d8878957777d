"""How the student was made, in short rows: strategy, objective, preset, and what the generator's
probes said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report.wording import ABSENT, percent

#: distill.meta.mode -> words
META = {
    "exact": "exact second-order meta steps",
    "first_order": "first-order meta steps",
    "reptile": "Reptile meta steps",
}


def recipe_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was chosen, without what was left at nothing."""
    told = report.get("recipe") or {}
    changed = told.get("preset_changes") or 0
    more = f", {changed} {'setting' if changed == 1 else 'settings'} changed" if changed else ""
    preset = f"{told['preset']}{more}" if told.get("preset") else None
    terms = ", ".join(f"{name} × {weight:g}" for name, weight in (told.get("terms") or {}).items())
    features = told.get("feature_steps")
    asked = told.get("teacher_images")
    listed = [
        ("preset", preset),
        ("strategy", told.get("strategy")),
        (
            "objective",
            f"{told['objective']}{f' ({terms})' if terms else ''}"
            if told.get("objective")
            else None,
        ),
        (
            "features first",
            f"{features:,} steps of feature distillation alone" if features else None,
        ),
        ("meta", META.get(told.get("meta") or "")),
        (
            "trained",
            "the head alone; the trunk stayed as it was" if told.get("train") == "head" else None,
        ),
        ("steps", f"{told['steps']:,}" if told.get("steps") else None),
        ("teacher calls", f"{asked:,} image views" if asked is not None else None),
    ]
    return [(name, value) for name, value in listed if value]


def probing_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per candidate of the generator's settings: candidate, agreement, diversity, gap,
    score, kept.
    """
    found = report["synthetic"].get("probing") or {"rows": [], "chosen": None}

    return [
        {
            "candidate": _candidate(row),
            "agreement": percent(row.get("agreement")),
            "diversity": shown(row.get("diversity")),
            "gap": shown(row.get("gap")),
            "score": shown(row.get("score")),
            "kept": i == found["chosen"],
        }
        for i, row in enumerate(found["rows"])
    ]


def _candidate(row: Mapping[str, Any]) -> str:
    named = (
        ", ".join(f"{name} = {value}" for name, value in _flat(row["candidate"])) or "as configured"
    )
    return (
        f"{named} (refused: {row['refused'].partition(' · ')[0]})" if row.get("refused") else named
    )


def _flat(candidate: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for name, value in candidate.items():
        out += (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, Mapping)
            else [(f"{prefix}{name}", value)]
        )
    return out


def looks_sentence(report: Mapping[str, Any]) -> str:
    """How varied the training images look to the teacher, and how far the synthetic ones lie from
    the real ones.
    """
    made = report["synthetic"]
    values = [("synthetic", made.get("diversity")), ("real", made.get("diversity_real"))]
    told = [
        f"{shown(value)} between two {kind} images" for kind, value in values if value is not None
    ]
    if not told:
        return ""
    text = (
        "In the teacher's eyes (1 − cosine of features), the mean difference within a "
        f"class is {' and '.join(told)}"
    )
    gap = made.get("domain_gap")
    return text + (
        f"; between the class means of both it is {shown(gap)}." if gap is not None else "."
    )


def shown(value: float | None) -> str:
    """A distance between features: three decimals, which is as much as half precision holds."""
    return ABSENT if value is None else f"{value:.3f}"
