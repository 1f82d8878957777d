"""The search: which student, resolution and precision keep the budget, and which of those learns
best.

1. Every candidate is sketched with random weights: its size and its time here are measured, its
    time elsewhere is estimated.
2. What breaks a limit is dropped before anything is trained. If nothing is left, that is the
answer, at once.
3. The largest ones that fit are trained for a part of the steps and compared on held-out images;
the better part goes on
   (successive halving, Jamieson and Talwalkar 2016).
4. Among those that agree with the teacher as often as the best one, within a standard error, the
cheapest is chosen.

Everything is in the store, measurements too: the same command goes on where it was and chooses the
    same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.budgets.calibration import Calibration, load_calibration
from compress.budgets.grammar import HOST, Limit, devices_of, parse_budget
from compress.engine.config import HostSettings, Settings
from compress.engine.errors import BudgetUnmetError
from compress.engine.progress import Progress
from compress.engine.runner import make
from compress.engine.store import Artifact, Store, lock
from compress.search.candidates import Candidate, nearest_miss, survey, words
from compress.search.held_out import HeldOut, held_out, predict, score
from compress.search.record import MEASURED_CHOICE, Record, rows
from compress.search.zoo import sizes, students, with_candidate
from compress.stages import STAGES

TRAINING = ("data", "teacher", "generate", "label", "distill")


@dataclass(frozen=True)
class Choice:
    """What the search ended with: the settings of the build, and the candidate that they
    describe.
    """

    settings: Settings
    candidate: Candidate
    precision: str
    why: str


def search_for_run(
    settings: Settings, work: Path, name: str, host: HostSettings, progress: Progress
) -> Settings:
    """The settings of the student that a run within its budget is built with; one process at a time
    searches for a run.

    Raises:
        BudgetUnmetError: nothing can keep the limits.
        StoreError: another process searches for this run.
    """
    folder = work / "runs" / name
    with lock(folder / ".search.lock", f"search of run {name!r}"):
        return search(settings, Store(work / "store"), folder, host, progress).settings


def search(
    settings: Settings, store: Store, folder: Path, host: HostSettings, progress: Progress
) -> Choice:
    """Finds the student, resolution and precision to build.

    Raises:
        BudgetUnmetError: nothing can keep the limits; said before anything is trained.
        Clip2EdgeError: whatever a stage refuses.
    """
    limits = parse_budget(*settings.budget.limits)
    record, devices = Record(folder), devices_of(limits)
    calibrations = [load_calibration(path) for path in settings.budget.calibration]
    record.event("budget", limits=[limit.text for limit in limits], devices=list(devices))
    seen: list[Candidate] = []
    fitting: list[Candidate] = []
    for group in sizes(settings):
        for size in group:
            found = survey(
                settings, students(settings), size, limits, calibrations, store, host, progress
            )
            prune(found, limits, devices)
            seen += found
            fitting += [candidate for candidate in found if candidate.fitting]
        if fitting:
            break
    for candidate in seen:
        record.event(
            "candidate",
            student=candidate.student,
            size=candidate.size,
            fits=list(candidate.fitting),
            macs=candidate.macs,
            measured=candidate.measured,
            estimate=candidate.estimated,
            why=candidate.why,
            breaks=candidate.reasons,
        )
    if not fitting:
        raise _nothing_fits(seen, limits, devices, record)
    alive = _largest(fitting, settings.budget.most)
    progress.note(
        f"budget: {len(seen)} candidates, {len(fitting)} can fit, {len(alive)} are trained"
    )
    last = _halve(alive, settings, store, host, progress, record)
    winner, why = pick(last, devices)
    precision, forced = precision_of(winner, devices)
    winner.status = "chosen"
    for other in last:
        if other is not winner:
            other.why = (
                f"{100 * other.rungs[-1]['agreement']:.1f} % agreement, less than the "
                "chosen one or no cheaper"
            )
    _test(seen, store, host, progress)
    chosen = with_candidate(settings, winner.student, winner.size)
    chosen = chosen.model_copy(
        update={
            "budget": chosen.budget.model_copy(update={"search": False}),
            "bench": chosen.bench.model_copy(update={"precision": forced}),
            "notes": (*chosen.notes, *_notes(calibrations, devices)),
        }
    )
    record.event("chosen", student=winner.student, size=winner.size, precision=precision, why=why)
    record.result(
        limits=[limit.text for limit in limits],
        candidates=rows(seen, devices, (winner, precision)),
        why=why,
        chosen={"student": winner.student, "size": winner.size, "precision": precision},
        calibration=[dict(calibration.source) for calibration in calibrations],
    )
    progress.note(f"budget: {winner.name}, {precision}: {why}")
    return Choice(chosen, winner, precision, why)


def prune(candidates: Sequence[Candidate], limits: Sequence[Limit], devices: Sequence[str]) -> None:
    """Marks which precisions of each candidate break no limit, as far as is known, and why others
    do.
    """
    for candidate in candidates:
        for precision in candidate.precisions(devices):
            broken = candidate.broken(limits, precision)
            if broken:
                candidate.reasons[precision] = words(broken)
            else:
                candidate.fitting = (*candidate.fitting, precision)
        if not candidate.fitting and not candidate.why:
            candidate.why = "no precision keeps the limits"


def pick(candidates: Sequence[Candidate], devices: Sequence[str]) -> tuple[Candidate, str]:
    """The cheapest of those that agree with the teacher as often as the best one, within its
    standard error; and why.
    """
    if len(candidates) == 1 and not candidates[0].rungs:
        return candidates[0], "the only candidate that can fit"
    best = max(candidates, key=lambda c: c.rungs[-1]["agreement"])
    top, error = best.rungs[-1]["agreement"], best.rungs[-1]["standard_error"]
    level = [c for c in candidates if c.rungs[-1]["agreement"] >= top - error]
    chosen = min(level, key=lambda c: (cost(c, devices), c.macs, c.name))
    own = chosen.rungs[-1]["agreement"]
    if chosen is best:
        return (
            chosen,
            f"agrees with the teacher on {100 * own:.1f} % of the held-out images, no cheaper "
            "one is level with it",
        )
    return chosen, (
        f"agrees with the teacher on {100 * own:.1f} % of the held-out images, within a "
        "standard error "
        f"({100 * error:.1f} points) of the best ({best.name}, {100 * top:.1f} %), and is cheaper"
    )


def cost(candidate: Candidate, devices: Sequence[str]) -> float:
    """Milliseconds on the budget's first device, of the fastest precision that fits."""
    return min(
        (latency(candidate, precision, devices) for precision in candidate.fitting),
        default=math.inf,
    )


def latency(candidate: Candidate, precision: str, devices: Sequence[str]) -> float:
    """p50 in ms on the budget's first device: measured where it is this machine, else estimated."""
    first = devices[0]
    told = candidate.measured if first == HOST else candidate.estimated.get(first, {})
    found = told.get(precision, {}).get("p50_ms")
    return math.inf if found is None else float(found)


def precision_of(candidate: Candidate, devices: Sequence[str]) -> tuple[str, str]:
    """The precision that the budget is judged with, and ``bench.precision``: forced where only one
    file fits.
    """
    fastest = min(candidate.fitting, key=lambda precision: latency(candidate, precision, devices))
    files = [precision for precision in candidate.fitting if precision in ("fp32", "int8")]
    return fastest, files[0] if len(candidate.fitting) == 1 and files else "auto"


def _largest(fitting: Sequence[Candidate], most: int) -> list[Candidate]:
    """The candidates worth training: those with the most operations that fit."""
    order = sorted(fitting, key=lambda c: (-c.macs, c.name))
    for candidate in order[most:]:
        candidate.why = f"fits, and so do {most} larger ones (budget.most)"
        candidate.reasons.update(dict.fromkeys(candidate.fitting, candidate.why))
    return order[:most]


def _halve(
    alive: list[Candidate],
    settings: Settings,
    store: Store,
    host: HostSettings,
    progress: Progress,
    record: Record,
) -> list[Candidate]:
    """Trains the candidates rung by rung; those of the last rung."""
    if len(alive) == 1:
        return alive
    views: dict[int, HeldOut] = {}
    for number, share in enumerate(sorted(settings.budget.rungs)):
        for candidate in alive:
            _train(candidate, share, views, store, host, progress)
            record.event(
                "rung",
                number=number,
                student=candidate.student,
                size=candidate.size,
                **candidate.rungs[-1],
            )
        if number + 1 < len(settings.budget.rungs):
            kept = max(2, math.ceil(settings.budget.keep * len(alive)))
            order = sorted(alive, key=lambda c: (-c.rungs[-1]["agreement"], c.macs, c.name))
            for candidate in order[kept:]:
                candidate.why = f"left behind after {candidate.rungs[-1]['steps']} steps"
            alive = order[:kept]
    return alive


def _train(
    candidate: Candidate,
    share: float,
    views: dict[int, HeldOut],
    store: Store,
    host: HostSettings,
    progress: Progress,
) -> None:
    """One rung of one candidate: its stages up to distill with fewer steps, and its score."""
    own = candidate.settings
    distill: dict[str, Any] = {
        "steps": max(1, round(share * own.distill.steps)),
        "feature_steps": round(share * own.distill.feature_steps),
    }
    if own.distill.epochs is not None:
        distill["epochs"] = share * own.distill.epochs
    shorter = own.model_copy(update={"distill": own.distill.model_copy(update=distill)})
    progress.note(f"budget: training {candidate.name} for {100 * share:.0f} % of the steps")
    finished = stages_of(shorter, store, host, progress)
    if candidate.size not in views:
        views[candidate.size] = held_out(own, finished, store, host, progress)
    found = score(finished["distill"], own, views[candidate.size])
    candidate.status = "trained"
    candidate.trained = finished["distill"]
    steps = {"steps": finished["distill"].facts["steps"], "images": views[candidate.size].what}
    candidate.rungs.append({**steps, **found.plain()})


def stages_of(
    settings: Settings, store: Store, host: HostSettings, progress: Progress
) -> dict[str, Artifact]:
    """The stages up to distill; what other candidates share is made once."""
    finished: dict[str, Artifact] = {}
    for stage in STAGES:
        if stage.name in TRAINING:
            finished[stage.name] = make(stage, settings, finished, store, host, progress)
    return finished


def _test(
    candidates: Sequence[Candidate], store: Store, host: HostSettings, progress: Progress
) -> None:
    """After the choice, for the picture of the search: top-1 of what was trained, on the test
    split.
    """
    for candidate in candidates:
        if candidate.trained is None:
            continue
        data = make(STAGES[0], candidate.settings, {}, store, host, progress)
        labels = [row["label"] for row in json.loads((data.path / "test.json").read_text())]
        if labels:
            pixels = np.load(data.path / "test.npy", mmap_mode="r")
            answers = predict(candidate.trained, candidate.settings, pixels).argmax(axis=1)
            candidate.top1 = float((answers == np.asarray(labels)).mean())


def _notes(calibrations: Sequence[Calibration], devices: Sequence[str]) -> list[str]:
    notes = [MEASURED_CHOICE] if HOST in devices else []
    foreign = [name for name in devices if name != HOST]
    if foreign:
        notes.append(
            f"the student was chosen with estimates for {', '.join(foreign)}: nothing was "
            "measured there"
        )
    return notes + [
        f"estimates for {c.device} are calibrated by {c.source['bench']}" for c in calibrations
    ]


def _nothing_fits(
    seen: Sequence[Candidate], limits: Sequence[Limit], devices: Sequence[str], record: Record
) -> BudgetUnmetError:
    """The error that names the nearest candidate and what it breaks; the record is written all the
    same.
    """
    record.result(
        limits=[limit.text for limit in limits],
        candidates=rows(seen, devices, None),
        chosen=None,
        why="nothing fits",
    )
    miss = nearest_miss(seen, limits, devices)
    if miss is None:
        reasons = "; ".join(f"{c.name}: {c.why}" for c in seen[:4])
        return BudgetUnmetError(
            "no candidate can be built for this budget",
            got=reasons,
            expected=", ".join(limit.text for limit in limits),
            remedy="name others with --set budget.students=[...]",
        )
    candidate, precision, broken = miss
    record.event(
        "nothing fits",
        student=candidate.student,
        size=candidate.size,
        precision=precision,
        breaks=words(broken),
    )
    return BudgetUnmetError(
        f"nothing fits this budget: none of {len(seen)} candidates was trained",
        got=f"the nearest is {candidate.name}, {precision}, which breaks {words(broken)}",
        expected=", ".join(limit.text for limit in limits),
        remedy="relax that limit, or name smaller students with --set budget.students=[...]",
    )
