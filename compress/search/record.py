"""The files of a search in the run folder, and the only place that spells their names.

search.jsonl   one event per line
budget.json    the result, for the report
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.engine.store import write_json
from compress.engine.text import read_object
from compress.search.candidates import Candidate, Row
from runtime.files.strict_json import to_text

EVENTS = "search.jsonl"
RESULT = "budget.json"


class SearchRecord:
    """The record of one search.

    A search that resumes after a kill writes its events again, from what the store kept.
    """

    def __init__(self, folder: Path) -> None:
        self._events = folder / EVENTS
        self._result = folder / RESULT

    def start(self) -> None:
        """Makes the folder and an empty list of events."""
        self._events.parent.mkdir(parents=True, exist_ok=True)
        self._events.write_text("", encoding="utf-8")

    def event(self, kind: str, candidate: Candidate | None = None, **values: object) -> None:
        """Adds one event."""
        if candidate is not None:
            values |= {"student": candidate.student, "size": candidate.size}
        with self._events.open("a", encoding="utf-8") as file:
            file.write(to_text({"event": kind, **values}, sort_keys=True) + "\n")

    def write_result(self, **values: object) -> None:
        """Writes the result."""
        write_json(self._result, values)

    def result(self) -> Row | None:
        """The result; None where there was no search."""
        if not self._result.is_file():
            return None
        return read_object(self._result)


def rows(
    candidates: Sequence[Candidate], devices: Sequence[str], chosen: tuple[Candidate, str] | None
) -> list[Row]:
    """report.json["candidates"]: a row per student, resolution and precision."""
    return [
        _row(candidate, precision, devices, chosen == (candidate, precision))
        for candidate in candidates
        for precision in candidate.precisions(devices) or ("fp32",)
    ]


def _row(candidate: Candidate, precision: str, devices: Sequence[str], is_chosen: bool) -> Row:
    is_trained = bool(candidate.rungs) and precision in candidate.fitting
    status = "chosen" if is_chosen else "trained" if is_trained else "pruned"
    last = candidate.rungs[-1] if candidate.rungs else None
    why = candidate.reasons.get(precision, candidate.why)
    if status == "trained" and last:
        why = f"after {last.steps} of {candidate.settings.distill.steps} steps; {why}".rstrip("; ")
    return {
        "student": candidate.student,
        "size": candidate.size,
        "precision": precision,
        "status": status,
        "estimate": candidate.estimate(precision, devices),
        "measured": candidate.measured.get(precision),
        "size_bytes": candidate.file_bytes(precision),
        "macs": candidate.macs,
        "params": int(candidate.sketch.facts["params"]) if candidate.sketch else None,
        "top1": None if status == "pruned" else candidate.top1,
        "agreement": last and last.agreement,
        "steps": last and last.steps,
        "rungs": [vars(rung) for rung in candidate.rungs],
        "why": why,
    }
