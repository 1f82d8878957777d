"""Runs the parts, prints their table and writes it; exit code 1 if anything was found.

Parts that are named are merged into the table there is, so that hours can be spread over days.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import abuse, page
from benchmarks.abuse import crowd, endurance, flips, full_disk, fuzz, kills
from benchmarks.abuse.builds import Main, Recipe, Workshop
from benchmarks.abuse.cells import KINDS, Cell, Outcome, run_cells
from compress.stages import STAGES
from runtime.host import telemetry

PARTS: dict[str, Callable[[Workshop, float], Iterator[Cell]]] = {
    kills.PART: kills.cells,
    kills.DEFAULT_PART: kills.default_cells,
    full_disk.PART: full_disk.cells,
    flips.PART: flips.cells,
    fuzz.PART: fuzz.cells,
    crowd.PART: crowd.cells,
    endurance.PART: endurance.cells,
}
#: read when torch is imported; the number of threads can change bytes
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "250"}
SHORT = (
    "bench.seconds=0.05",
    "data.test_limit=64",
    "export.parity_images=8",
    "generate.per_class=1",
)
SMOKE = (
    *("build", "--preset", "smoke", "--shots", "1", "--offline"),
    *(word for setting in SHORT for word in ("--set", setting)),
)
HEADER = "part | cases | lost | silent | tracebacks | hangs | seconds | state"
Row = Mapping[str, Any]


def workshop(work: Path) -> Workshop:
    """The product's own builds, below ``work``."""
    return Workshop(
        folder=work.resolve(),
        main=compress,
        smoke=Recipe("smoke", SMOKE),
        default=Recipe("default", ("build", "--offline"), "petals-4shot-s0"),
        stages=tuple(stage.name for stage in STAGES),
    )


def compress() -> None:
    """The command line of the product."""
    from compress.__main__ import main

    main()


def preload(shop: Workshop) -> None:
    """Imports what a build imports, so that its forks need not."""
    names = shop.folder / "modules.txt"
    if not names.is_file():
        names.parent.mkdir(parents=True, exist_ok=True)
        noting = Workshop(**{**vars(shop), "main": _noting(shop.main, names)})
        noting.reference(shop.smoke)
    for name in names.read_text(encoding="utf-8").split() if names.is_file() else ():
        with contextlib.suppress(Exception):  # some can be imported in their own order only
            importlib.import_module(name)


def _noting(main: Main, names: Path) -> Main:
    def run() -> None:
        try:
            main()
        finally:
            names.write_text("\n".join(sys.modules), encoding="utf-8")

    return run


def summary(part: str, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """A part's line of the table."""
    known = list(outcomes)
    counts = Counter(fault.kind for outcome in known for fault in outcome.faults)
    skipped = sorted({outcome.skipped for outcome in known if outcome.skipped})
    return {
        "part": part,
        "cases": sum(outcome.cases for outcome in known if outcome.skipped is None),
        **{kind: counts[kind] for kind in KINDS},
        "seconds": round(sum(outcome.seconds for outcome in known), 1),
        "skipped": skipped,
        "commits": sorted({outcome.commit for outcome in known if outcome.commit}),
        "faults": [asdict(fault) for outcome in known for fault in outcome.faults],
    }


def earlier(out: Path, scale: float, parts: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a record written before, at the same scale, of the parts that are not run now."""
    if not out.is_file():
        return []
    known = json.loads(out.read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = known["rows"] if known["scale"] == scale else []
    return [row for row in rows if row["part"] not in parts]


def is_clean(rows: Sequence[Row]) -> bool:
    """Whether every part ran, and found nothing."""
    return not any(one["skipped"] or one["faults"] for one in rows)


def markdown(record: Mapping[str, Any]) -> str:
    """The page of a record."""
    verdict = (
        "Nothing was found." if is_clean(record["rows"]) else "Something was found or skipped."
    )
    return f"""# Abuse: kills, full disks, flipped bytes, fuzzed files, crowds, endurance

`{record["command"]}`

{page.table(HEADER, map(cells, record["rows"]))}

Scale {record["scale"]:g} of the full counts; commits {", ".join(record["commits"])}; \
{record["host"]["cpu"]}, {record["versions"]}. Seconds are those of all processes together. \
{verdict}
"""


def cells(one: Row) -> tuple[object, ...]:
    """A row of the table."""
    state = "; ".join(f"skipped: {reason}" for reason in one["skipped"])
    state = state or ("faults" if one["faults"] else "clean")
    return (one["part"], f"{one['cases']:,}", *(one[kind] for kind in KINDS), one["seconds"], state)


def main(arguments: list[str] | None = None, shop: Workshop | None = None) -> int:
    """Runs what was not run before, prints and writes the table of it all."""
    parser = page.options("abuse", abuse.__doc__, "abuse.json")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--work", type=Path, required=True, help="builds and finished cells")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--jobs", type=int, default=telemetry.usable_cores(), help="at a time")
    options = parser.parse_args(arguments)
    parts = options.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; one of {', '.join(PARTS)}")
    if shop is None:
        shop = workshop(options.work)
        preload(shop)
    # the parts' cells side by side, the long one first; each part prepares its own here
    wanted = [cell for part in reversed(parts) for cell in PARTS[part](shop, options.scale)]
    done = run_cells(wanted, shop.folder, options.jobs, page.commit())
    rows = [
        summary(part, [outcome for cell, outcome in done.items() if cell.part == part])
        for part in parts
    ]
    rows = [*earlier(options.out, options.scale, parts), *rows]
    rows.sort(key=lambda row: list(PARTS).index(row["part"]))
    scaled = "" if options.scale == 1 else f" --scale {options.scale:g}"
    record = {
        "command": f"python -m benchmarks.abuse --work DIR{scaled}",
        "scale": options.scale,
        "commits": sorted({one for each in rows for one in each["commits"]}),
        "host": asdict(telemetry.host()),
        "versions": page.library_versions(),
        "rows": rows,
    }
    page.write_record(options.out, record, markdown(record))
    return int(not is_clean(rows))


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != ENVIRONMENT["OMP_NUM_THREADS"]:
        command = [sys.executable, "-m", "benchmarks.abuse", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ENVIRONMENT})
    raise SystemExit(main())
