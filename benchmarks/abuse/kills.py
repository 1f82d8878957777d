"""Kills: SIGKILL at random moments of a build, then the same command again, until it finishes.

Half of the kills strike a child process of the build, the others the build with all its children.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.abuse.builds import (
    Recipe,
    Reference,
    Workshop,
    alive,
    children,
    compare,
    kill_group,
    start,
    wait,
)
from benchmarks.abuse.cells import LOST, Cell, Fault, Outcome

PART = "kills"
DEFAULT_PART = "kills_default"
SMOKE, DEFAULT = 90, 10  # kills at full scale
A_CELL = 5
WHOLE = 0.5  # below this scale the default preset, minutes a build, is left out
BUILD, CHILD = "build", "child"


def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """Cells of five kills of smoke builds."""
    yield from _cells(PART, shop, shop.smoke, round(SMOKE * scale) or 1)


def default_cells(shop: Workshop, scale: float) -> Iterator[Cell]:
    """Cells of five kills of default builds, minutes each: none at a small scale."""
    yield from _cells(DEFAULT_PART, shop, shop.default, round(DEFAULT * scale * (scale >= WHOLE)))


def _cells(part: str, shop: Workshop, recipe: Recipe, kills: int) -> Iterator[Cell]:
    if kills:
        shop.reference(recipe)  # before cells that run side by side need it
    for first in range(0, kills, A_CELL):
        name = f"{recipe.name}-{first:03d}"
        yield Cell(part, name, partial(run, shop, recipe, min(A_CELL, kills - first), name))


def run(shop: Workshop, recipe: Recipe, kills: int, seed: str, folder: Path) -> Outcome:
    """Builds and kills until all kills were struck and the last build is finished."""
    rng = random.Random(seed)
    reference = shop.reference(recipe)
    outcome = Outcome(facts={BUILD: 0, CHILD: 0, "builds": 0})
    while outcome.cases < kills:
        outcome.facts["builds"] += 1
        if outcome.facts["builds"] > 5 * kills:
            raise RuntimeError("builds end before they can be killed")
        _one_build(shop, recipe, reference, kills, rng, folder, outcome)
    return outcome


def _one_build(
    shop: Workshop,
    recipe: Recipe,
    reference: Reference,
    kills: int,
    rng: random.Random,
    folder: Path,
    outcome: Outcome,
) -> None:
    """A build from its beginning to its end, killed on the way."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    attempt = 0
    while True:
        log = folder / f"{outcome.facts['builds']}.{attempt}.txt"
        pid = start(shop.main, recipe.command(work), log)
        victim = None
        if outcome.cases < kills:
            aim = BUILD if outcome.cases % 2 else CHILD
            left = rng.random() if attempt else 1.0  # a build that goes on has less to do
            victim = strike(pid, aim, reference, left, rng)
        ended = wait(pid, log, shop.limit_s)
        case = f"build {outcome.facts['builds']}, attempt {attempt} ({victim or 'not'} killed)"
        if victim:
            outcome.cases += 1
            outcome.facts[victim] += 1
        if victim != BUILD:
            outcome.faults += ended.faults(case)
        attempt += 1
        if ended.code == 0:
            outcome.faults += compare(recipe.folder(work), recipe.folder(reference.work), case)
            outcome.faults += made_again(recipe, work, case)
            return
        if not victim:
            outcome.faults.append(Fault(LOST, f"{case}: it cannot finish: {ended.last[:200]}"))
            outcome.cases += 1  # so that the round ends
            return


def strike(pid: int, aim: str, reference: Reference, left: float, rng: random.Random) -> str | None:
    """Kills a child of the build, or the build; says which, or None if it finished before.

    The moment is drawn from the build's whole time, or from the life of one of its children. If
    there is no child at that moment, the build is killed.
    """
    if aim == CHILD and reference.child_seconds:
        number = rng.randrange(len(reference.child_seconds))
        seen: set[int] = set()
        while alive(pid) and len(seen) <= number:
            seen.update(children(pid))
            time.sleep(0.002)
        time.sleep(rng.uniform(0, reference.child_seconds[number]))
    else:
        moment = time.monotonic() + rng.uniform(0, reference.seconds * left)
        while alive(pid) and time.monotonic() < moment:
            time.sleep(0.002)
    if not alive(pid):
        return None
    if aim == CHILD and (found := children(pid)):
        try:
            os.kill(rng.choice(found), signal.SIGKILL)
        except ProcessLookupError:  # it has just ended
            pass
        else:
            return CHILD
    kill_group(pid)
    return BUILD


def made_again(recipe: Recipe, work: Path, case: str) -> list[Fault]:
    """The stages that were finished, and made once more after a kill."""
    finished: set[tuple[str, str]] = set()
    again: set[str] = set()
    log = recipe.folder(work) / "log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:  # cut by the kill
            continue
        stage = (row["stage"], row["key"])
        if row["event"] == "make" and stage in finished:
            again.add(row["stage"])
        elif row["event"] == "made":
            finished.add(stage)
    return [Fault(LOST, f"{case}: finished stages made again: {', '.join(again)}")] * bool(again)
