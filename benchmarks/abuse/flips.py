"""Flipped bytes: one in each stored file in turn, then a report and the same build.

The file keeps its size and its time, as on a disk that goes bad. The damage must be told, the file
made whole, and bundle and figures must be those of the undisturbed build.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.abuse.builds import Recipe, Workshop, compare, copy_work, figures
from benchmarks.abuse.cells import LOST, SILENT, Cell, Fault, Outcome, spread

PART = "flips"
TOLD = re.compile(r"damaged|changed|differs|made again|made anew|cannot be read", re.IGNORECASE)
DIGIT = re.compile(rb"\d")
ANYWHERE, FIGURE = "anywhere", "figure"


def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """A cell per stored file."""
    for name in spread(stored_files(shop.smoke, shop.reference(shop.smoke).work), scale):
        cell = re.sub(r"[^\w.-]+", "_", name)[-100:]
        yield Cell(PART, cell, partial(run, shop, name))


def stored_files(recipe: Recipe, work: Path) -> list[str]:
    """The files of the store and of the bundle that hold something; locks do not."""
    tops = (work / "store", recipe.bundle(work))
    files = [path for top in tops for path in sorted(top.rglob("*")) if path.is_file()]
    kept = (file for file in files if file.suffix != ".lease" and file.stat().st_size)
    return [str(file.relative_to(work)) for file in kept]


def run(shop: Workshop, name: str, folder: Path) -> Outcome:
    """The cases of one file: a byte anywhere, and in text also a digit."""
    outcome = Outcome()
    reference = shop.reference(shop.smoke).work
    data = (reference / name).read_bytes()
    places = [ANYWHERE]
    if name.endswith((".json", ".jsonl")) and DIGIT.search(data):
        places.append(FIGURE)
    for place in places:
        work = copy_work(reference, folder / place)
        _flip(work / name, place, random.Random(f"{name} {place}"))
        outcome.cases += 1
        outcome.faults += _case(shop, work, reference, name, folder / f"{place}.txt", outcome)
        shutil.rmtree(work)
    return outcome


def _case(
    shop: Workshop, work: Path, reference: Path, name: str, log: Path, outcome: Outcome
) -> list[Fault]:
    recipe = shop.smoke
    flipped = (work / name).read_bytes()
    faults = _reading(shop, work, reference, name, log.with_suffix(".reading.txt"))
    ended = shop.run(recipe.command(work), log)
    outcome.facts.setdefault("said", []).append(_told(ended.text)[:200])
    faults += ended.faults(name)
    if ended.code != 0:
        return [*faults, Fault(LOST, f"{name}: the build stops: {ended.last[:200]}")]
    faults += compare(recipe.folder(work), recipe.folder(reference), name)
    file = work / name
    if file.is_file() and file.read_bytes() == flipped:
        faults.append(Fault(SILENT, f"{name}: the damage stays"))
    elif not Path(name).name.startswith(".") and not _told(ended.text):
        faults.append(Fault(SILENT, f"{name}: made whole, and not a word"))
    return faults


def _reading(shop: Workshop, work: Path, reference: Path, name: str, log: Path) -> list[Fault]:
    """What a command that only reads makes of the damage: the report, or the bundle's check."""
    recipe = shop.smoke
    if (work / name).is_relative_to(recipe.bundle(work)):
        ended = shop.run(["verify", str(recipe.bundle(work))], log)
        if ended.code == 0:
            return [Fault(SILENT, f"{name}: verify finds nothing"), *ended.faults(name)]
        return ended.faults(f"{name}, verify")
    ended = shop.run(["report", str(recipe.folder(work))], log)
    faults = ended.faults(f"{name}, report")
    if figures(recipe.folder(work)) != figures(recipe.folder(reference)):
        faults.append(Fault(SILENT, f"{name}: compress report gives another accuracy"))
    return faults


def _told(text: str) -> str:
    """The line that tells of the damage."""
    return next((line.strip() for line in text.splitlines() if TOLD.search(line)), "")


def _flip(file: Path, place: str, rng: random.Random) -> None:
    """One bit of one byte; a digit stays a digit. The time stays."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    if place == FIGURE:
        at = rng.choice([found.start() for found in DIGIT.finditer(data)])
        data[at] = ord("0") + (data[at] - ord("0") + 1) % 10
    else:
        at = rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
