"""What a search leaves in the run folder: ``search.jsonl``, one event a line, and ``budget.json``
for the report.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.engine.store import write_json
from compress.search.candidates import Candidate, estimate_of

EVENTS, RESULT = "search.jsonl", "budget.json"
MEASURED_CHOICE = (
    "the student was chosen with times measured on this machine: another machine, or another "
    "measurement, may choose "
    "another one; --config with this run's config.yaml repeats the build without the search"
)


class Record:
    """Writes the events of one search; a search that goes on after a kill writes them again, from
    what the store kept.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._file = folder / EVENTS
        self._file.write_text("")

    def event(self, kind: str, **values: Any) -> None:
        """One line."""
        with self._file.open("a") as file:
            file.write(json.dumps({"event": kind, **values}, sort_keys=True) + "\n")

    def result(self, **values: Any) -> None:
        """The outcome, for the report."""
        write_json(self.folder / RESULT, values)


def rows(
    candidates: Sequence[Candidate], devices: Sequence[str], chosen: tuple[Candidate, str] | None
) -> list[dict[str, Any]]:
    """report.json["candidates"]: a row per student, resolution and precision.

    ``top1`` of a trained one is on the test split, taken after the choice, of the float student as
    its last rung left it; ``agreement`` is what it was chosen by.
    """
    out = []
    for candidate in candidates:
        for precision in candidate.precisions(devices) or ("fp32",):
            won = chosen is not None and chosen[0] is candidate
            fits = precision in candidate.fitting
            status = (
                "chosen"
                if won and chosen and chosen[1] == precision
                else "trained"
                if candidate.rungs and fits
                else "pruned"
            )
            last = candidate.rungs[-1] if candidate.rungs else {}
            out.append(
                {
                    "student": candidate.student,
                    "size": candidate.size,
                    "precision": precision,
                    "status": status,
                    "estimate": estimate_of(candidate, precision, devices),
                    "measured": candidate.measured.get(precision),
                    "size_bytes": _size(candidate, precision),
                    "macs": candidate.macs,
                    "params": _params(candidate),
                    "top1": candidate.top1 if status != "pruned" else None,
                    "agreement": last.get("agreement"),
                    "steps": last.get("steps"),
                    "rungs": candidate.rungs,
                    "why": _why(candidate, precision, status),
                }
            )
    return out


def _why(candidate: Candidate, precision: str, status: str) -> str:
    """Why it is where it is; a trained one says after how many steps its accuracy was taken."""
    told = candidate.reasons.get(precision, candidate.why)
    if status != "trained":
        return told
    return (
        f"after {candidate.rungs[-1]['steps']} of {candidate.settings.distill.steps} steps; {told}"
    ).rstrip("; ")


def _size(candidate: Candidate, precision: str) -> float | None:
    if candidate.sketch is None:
        return None
    sizes = candidate.sketch.facts["bytes"]
    return float(sizes[precision]) if precision in sizes else sizes["fp32"] / 2


def _params(candidate: Candidate) -> int | None:
    return None if candidate.sketch is None else int(candidate.sketch.facts["params"])
