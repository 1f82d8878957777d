"""What export and bench found out about confidence -> the part "confidence" of report.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]


def confidence_part(exported: Facts, metrics: Facts, field: Facts | None) -> dict[str, object]:
    """The part; what an older stage did not measure is absent.

    Args:
        exported: the export stage's facts.
        metrics: of every variant, from accuracy.json.
        field: field.json.
    """
    fitted: Facts = exported.get("confidence") or {}
    chosen: Facts = fitted.get("rejection") or {}
    measured: Facts = field or {}
    rejection = measured.get("rejection")
    if rejection is not None:
        about = {key: chosen.get(key) for key in ("set_on", "n")}
        rejection = {**rejection, **about, "chosen_by": mean_auroc(chosen.get("auroc") or {})}
    return {
        "temperature": fitted.get("temperature"),
        "reliability": {
            name: row["calibrated"]["reliability"]
            for name, row in metrics.items()
            if "calibrated" in row
        },
        "rejection": rejection,
        "stress": measured.get("stress"),
    }


def calibrated(row: Facts) -> dict[str, object] | None:
    """The metrics of a variant at its temperature; None for one without."""
    honest = row.get("calibrated")
    return honest and {key: honest[key] for key in ("temperature", "ece", "nll")}


def mean_auroc(models: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Score -> kind -> AUROC, the mean over the models that were judged."""
    tables = list(models.values())
    if not tables:
        return {}
    return {
        score: {kind: sum(table[score][kind] for table in tables) / len(tables) for kind in kinds}
        for score, kinds in tables[0].items()
    }
