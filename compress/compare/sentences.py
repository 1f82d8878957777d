"""What may be said of compared runs, in words for the terminal and the page."""

from __future__ import annotations

from compress.compare.runs import Against, ComparedRun, Comparison
from compress.report.wording import plural, points, signed_interval

CLAIMS = {
    "above": "more accurate",
    "below": "less accurate",
    "open": "not told apart",
    "too few": "too few test images",
}


def difference(found: Against) -> str:
    """A difference of top-1 with its interval, and what follows."""
    if found.compared is None or found.claim is None:
        return found.why
    value, span = points(found.compared.difference), signed_interval(found.compared.ci95)
    return f"{value} ({span}): {CLAIMS[found.claim]}"


def remarks(comparison: Comparison) -> list[str]:
    """What has to be known before the figures are read."""
    first = comparison.runs[0].name
    lines = [f"differences are to {first}, paired on the same test images, with 95 % intervals"]
    machines = comparison.machines
    if len(machines) > 1:
        each = "; ".join(_place(*machine) for machine in machines)
        lines.append(f"times do not compare: they were measured on {each}")
    elif machines:
        lines.append(f"times are of {_place(*machines[0])}, each in a session of its own")
    stamped = [run for run in comparison.runs if run.row and run.row.verdict != "VALID"]
    lines += [_stamp(run) for run in stamped]
    return lines


def _stamp(run: ComparedRun) -> str:
    row = run.row
    return f"the time of {run.name} is stamped {row.verdict if row else ''}: read it with care"


def _place(cpu: str, threads: int | None) -> str:
    return f"{cpu}, {plural(threads, 'thread')}" if threads else cpu
