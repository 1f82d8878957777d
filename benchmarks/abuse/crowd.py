"""A crowd: four builds at once in one work folder.

Each ends with its bundle, or says that another is at work. Afterwards each is repeated alone and
must end with the bundle of an undisturbed build.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.abuse.builds import Ended, Recipe, Workshop, compare, start, wait
from benchmarks.abuse.cells import LOST, SILENT, Cell, Fault, Outcome

PART = "crowd"
ROUNDS = 5  # of each kind, at full scale
BUILDS = 4
LOCKED = "another process"  # what the error must say
OTHER_SETTINGS = ("--set", "distill.lr=0.001")
KINDS: tuple[str, ...] = ("same name, same settings", "same name, other settings")
KINDS += ("other names, same settings", "other names, other settings")


def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """A cell per kind and round."""
    for recipe in (shop.smoke, _odd(shop)):
        shop.reference(recipe)  # before cells that run side by side need it
    rounds = [(kind, number) for number in range(ROUNDS) for kind in KINDS]
    for kind, number in rounds[: max(1, round(len(rounds) * scale))]:
        name = f"{kind.replace(', ', '-').replace(' ', '_')}-{number}"
        yield Cell(PART, name, partial(run, shop, kind, name))


def recipes(shop: Workshop, kind: str) -> list[Recipe]:
    """The four builds of a kind: of two settings where they differ."""
    own_name, own_settings = kind.startswith("other names"), kind.endswith("other settings")
    made = []
    for index in range(BUILDS):
        recipe = _odd(shop) if own_settings and index % 2 else shop.smoke
        made.append(recipe.varied(recipe.name, run=f"run{index}" if own_name else None))
    return made


def run(shop: Workshop, kind: str, seed: str, folder: Path) -> Outcome:
    """One crowd."""
    rng = random.Random(seed)
    work = folder / "work"
    crowd = recipes(shop, kind)
    outcome = Outcome(cases=BUILDS, facts={"built": 0, "locked": 0})
    pids = []
    for index, recipe in enumerate(crowd):
        log = folder / f"{index}.txt"
        pids.append((start(shop.main, recipe.command(work), log), log))
        time.sleep(rng.uniform(0, 0.3))
    for index, (pid, log) in enumerate(pids):
        outcome.faults += _judged(wait(pid, log, shop.limit_s * 2), f"{kind}, {index}", outcome)
    if not outcome.facts["built"]:
        outcome.faults.append(Fault(LOST, f"{kind}: none of four builds ended"))
    for index, recipe in enumerate(crowd):
        case = f"{kind}, {index} alone"
        wanted = _wanted(shop, recipe)
        ended = shop.run(recipe.command(work), folder / f"{index}.alone.txt")
        outcome.faults += ended.faults(case)
        if ended.code != 0:
            outcome.faults.append(Fault(LOST, f"{case}: {ended.last[:200]}"))
            continue
        outcome.faults += compare(recipe.folder(work), wanted, case)
    return outcome


def _judged(ended: Ended, case: str, outcome: Outcome) -> list[Fault]:
    """A build, the word that another is at work, or a fault."""
    if faults := ended.faults(case):
        return faults
    if ended.code == 0:
        outcome.facts["built"] += 1
        return []
    if ended.code == 2 and LOCKED in ended.last:
        outcome.facts["locked"] += 1
        return []
    return [Fault(SILENT, f"{case}: exit code {ended.code}: {ended.last[:200]}")]


def _wanted(shop: Workshop, recipe: Recipe) -> Path:
    """The undisturbed run with the settings of a recipe."""
    return shop.finished(_odd(shop) if recipe.name == _odd(shop).name else shop.smoke)


def _odd(shop: Workshop) -> Recipe:
    """The other settings."""
    return shop.smoke.varied(f"{shop.smoke.name}.odd", *OTHER_SETTINGS)
