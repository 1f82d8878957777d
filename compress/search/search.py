"""The search: which student, resolution and precision keep the budget, and which learns best.

1. Every candidate is sketched with random weights: its size and its time here are measured, its
   time elsewhere is estimated.
2. Candidates that break a limit are dropped before any training. If none is left, the search ends.
3. The largest ones that fit are trained for part of the steps and compared on held-out images; the
   better part goes on (successive halving, Jamieson and Talwalkar 2016).
4. Among those within a standard error of the best agreement with the teacher, the cheapest is
   chosen.

Everything is in the store, measurements too: the same command resumes and chooses the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.budgets.calibration import Calibration, load_calibration
from compress.budgets.grammar import Limit, devices_of, parse_budget
from compress.budgets.variants import HOST
from compress.data.artifact import TEST, DataArtifact
from compress.engine.config import HostSettings, Settings
from compress.engine.errors import BudgetUnmetError
from compress.engine.locks import lock
from compress.engine.progress import Progress
from compress.engine.runs import SEARCH_LOCK, RunFolder
from compress.engine.store import Store
from compress.search.candidates import Candidate, in_words, nearest_miss
from compress.search.held_out import HeldOutImages, held_out, predict, score
from compress.search.record import SearchRecord, rows
from compress.search.stages import StageMaker
from compress.search.survey import survey
from compress.search.zoo import sizes, students, with_candidate

MEASURED_CHOICE = (
    "the student was chosen with times measured on this machine: another machine, or another "
    "measurement, may choose another one; --config with this run's config.yaml repeats the build "
    "without the search"
)


@dataclass(frozen=True)
class Choice:
    """The result of a search: the settings of the build, and the candidate they describe."""

    settings: Settings
    candidate: Candidate
    precision: str
    why: str


def search_for_run(
    settings: Settings, work: Path, name: str, host: HostSettings, progress: Progress
) -> Settings:
    """The settings of the best student for a run within its budget.

    Raises BudgetUnmetError if nothing can, and StoreError if another process searches for this run.
    """
    folder = RunFolder.of(work, name).path
    stages = StageMaker(Store.of(work), host, progress)
    with lock(folder / SEARCH_LOCK, f"search of run {name!r}"):
        return search(settings, folder, stages).settings


def search(settings: Settings, folder: Path, stages: StageMaker) -> Choice:
    """Finds the student, resolution and precision to build; ``folder`` gets the record.

    Raises BudgetUnmetError, before any training, if nothing can keep the limits.
    """
    limits = parse_budget(*settings.budget.limits)
    devices = devices_of(limits)
    calibrations = [load_calibration(path) for path in settings.budget.calibration]
    record = SearchRecord(folder)
    record.start()
    record.event("budget", limits=[limit.text for limit in limits], devices=list(devices))
    candidates: list[Candidate] = []
    for group in sizes(settings):
        for size in group:
            names = students(settings)
            candidates += survey(settings, names, size, limits, calibrations, stages)
        prune(candidates, limits, devices)
        if any(candidate.fitting for candidate in candidates):
            break
    for candidate in candidates:
        record.event(
            "candidate",
            candidate,
            fits=list(candidate.fitting),
            macs=candidate.macs,
            measured=candidate.measured,
            estimate=candidate.estimated,
            why=candidate.why,
            breaks=candidate.reasons,
        )
    fitting = [candidate for candidate in candidates if candidate.fitting]
    if not fitting:
        raise _nothing_fits(candidates, limits, devices, record)
    alive = largest(fitting, settings.budget.most)
    counts = f"{len(candidates)} candidates, {len(fitting)} can fit, {len(alive)} are trained"
    stages.progress.note(f"budget: {counts}")
    finalists = _halve(alive, settings, stages, record)
    winner, why = pick(finalists, devices)
    precision, forced = precision_of(winner, devices)
    winner.status = "chosen"
    for other in set(finalists) - {winner}:
        agreement = f"{100 * other.agreement:.1f} % agreement"
        other.why = f"{agreement}, less than the chosen one or no cheaper"
    for candidate in candidates:
        _test(candidate, stages)
    record.event("chosen", winner, precision=precision, why=why)
    record.write_result(
        limits=[limit.text for limit in limits],
        candidates=rows(candidates, devices, (winner, precision)),
        why=why,
        chosen={"student": winner.student, "size": winner.size, "precision": precision},
        calibration=[calibration.source for calibration in calibrations],
    )
    stages.progress.note(f"budget: {winner.name}, {precision}: {why}")
    chosen = with_candidate(settings, winner.student, winner.size)
    update = {
        "budget": chosen.budget.model_copy(update={"search": False}),
        "bench": chosen.bench.model_copy(update={"precision": forced}),
        "notes": (*chosen.notes, *_notes(calibrations, devices)),
    }
    return Choice(chosen.model_copy(update=update), winner, precision, why)


def prune(candidates: Sequence[Candidate], limits: Sequence[Limit], devices: Sequence[str]) -> None:
    """Marks which precisions of each candidate break no known limit, and what the others break."""
    for candidate in candidates:
        precisions = candidate.precisions(devices)
        broken = {precision: candidate.broken(limits, precision) for precision in precisions}
        candidate.fitting = tuple(precision for precision in precisions if not broken[precision])
        candidate.reasons = {key: in_words(value) for key, value in broken.items() if value}
        if not candidate.fitting and not candidate.why:
            candidate.why = "no precision keeps the limits"


def largest(fitting: Sequence[Candidate], most: int) -> list[Candidate]:
    """The candidates worth training: those with the most operations."""
    order = sorted(fitting, key=lambda c: (-c.macs, c.name))
    for candidate in order[most:]:
        candidate.why = f"fits, and so do {most} larger ones (budget.most)"
        candidate.reasons.update(dict.fromkeys(candidate.fitting, candidate.why))
    return order[:most]


def _halve(
    alive: list[Candidate], settings: Settings, stages: StageMaker, record: SearchRecord
) -> list[Candidate]:
    """Trains the candidates rung by rung; returns those of the last rung."""
    if len(alive) == 1:
        return alive
    images: dict[int, HeldOutImages] = {}
    for number, share in enumerate(sorted(settings.budget.rungs)):
        for candidate in alive:
            _train(candidate, share, images, stages)
            record.event("rung", candidate, number=number, **vars(candidate.rungs[-1]))
        if number + 1 < len(settings.budget.rungs):
            count = max(2, math.ceil(settings.budget.keep * len(alive)))
            order = sorted(alive, key=lambda c: (-c.agreement, c.macs, c.name))
            for candidate in order[count:]:
                candidate.why = f"left behind after {candidate.rungs[-1].steps} steps"
            alive = order[:count]
    return alive


def _train(
    candidate: Candidate, share: float, images: dict[int, HeldOutImages], stages: StageMaker
) -> None:
    """One rung of one candidate: its stages up to distill with fewer steps, and its score."""
    settings = candidate.settings
    whole = settings.distill
    shorter = {
        "steps": max(1, round(share * whole.steps)),
        "feature_steps": round(share * whole.feature_steps),
        "epochs": None if whole.epochs is None else share * whole.epochs,
    }
    stages.progress.note(f"budget: training {candidate.name} for {100 * share:.0f} % of the steps")
    distill = whole.model_copy(update=shorter)
    finished = stages.train(settings.model_copy(update={"distill": distill}))
    if candidate.size not in images:
        images[candidate.size] = held_out(settings, finished, stages)
    candidate.status = "trained"
    candidate.trained = finished["distill"]
    candidate.rungs.append(score(finished["distill"], settings, images[candidate.size]))


def pick(candidates: Sequence[Candidate], devices: Sequence[str]) -> tuple[Candidate, str]:
    """The cheapest candidate within a standard error of the best agreement; and why."""
    if len(candidates) == 1 and not candidates[0].rungs:
        return candidates[0], "the only candidate that can fit"
    best = max(candidates, key=lambda c: c.agreement)
    error = best.rungs[-1].standard_error
    level = [c for c in candidates if c.agreement >= best.agreement - error]
    chosen = min(level, key=lambda c: (c.cost(devices), c.macs, c.name))
    why = f"agrees with the teacher on {100 * chosen.agreement:.1f} % of the held-out images, "
    if chosen is best:
        return chosen, why + "no cheaper one is level with it"
    of_best = f"of the best ({best.name}, {100 * best.agreement:.1f} %)"
    return (
        chosen,
        f"{why}within a standard error ({100 * error:.1f} points) {of_best}, and is cheaper",
    )


def precision_of(candidate: Candidate, devices: Sequence[str]) -> tuple[str, str]:
    """The precision to judge the budget with, and ``bench.precision``: the only one, or "auto"."""
    fastest = min(candidate.fitting, key=lambda precision: candidate.latency(precision, devices))
    is_forced = len(candidate.fitting) == 1 and candidate.fitting[0] in ("fp32", "int8")
    return fastest, candidate.fitting[0] if is_forced else "auto"


def _test(candidate: Candidate, stages: StageMaker) -> None:
    """After the choice, for the report's picture: the top-1 of a candidate on the test split."""
    if candidate.trained is not None:
        data = DataArtifact(stages.make("data", candidate.settings).path)
        test = data.images(TEST)
        if len(test):
            logits = predict(candidate.trained, candidate.settings, test.pixels)
            candidate.top1 = float((logits.argmax(axis=1) == test.labels).mean())


def _notes(calibrations: Sequence[Calibration], devices: Sequence[str]) -> list[str]:
    foreign = ", ".join(name for name in devices if name != HOST)
    guess = f"the student was chosen with estimates for {foreign}: nothing was measured there"
    return [
        *([MEASURED_CHOICE] if HOST in devices else []),
        *([guess] if foreign else []),
        *(f"estimates for {c.device} are calibrated by {c.source['bench']}" for c in calibrations),
    ]


def _nothing_fits(
    candidates: Sequence[Candidate],
    limits: Sequence[Limit],
    devices: Sequence[str],
    record: SearchRecord,
) -> BudgetUnmetError:
    """The error that names the nearest candidate and what it breaks; completes the record."""
    texts = [limit.text for limit in limits]
    table = rows(candidates, devices, None)
    record.write_result(limits=texts, candidates=table, chosen=None, why="nothing fits")
    miss = nearest_miss(candidates, limits, devices)
    what = "no candidate can be built for this budget"
    got = "; ".join(f"{c.name}: {c.why}" for c in candidates[:4])
    if miss is not None:
        candidate, precision, broken = miss
        reason = in_words(broken)
        record.event("nothing fits", candidate, precision=precision, breaks=reason)
        what = f"nothing fits this budget: none of {len(candidates)} candidates was trained"
        got = f"the nearest is {candidate.name}, {precision}, which breaks {reason}"
    remedy = "relax the limits, or name smaller students with --set budget.students=[...]"
    return BudgetUnmetError(what, got=got, expected=", ".join(texts), remedy=remedy)
