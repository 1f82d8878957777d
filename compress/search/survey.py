"""What candidates cost before training: exported untrained, timed here, estimated elsewhere.

Time and size do not depend on the values of the weights, so untrained files show both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from compress.budgets.calibration import Calibration
from compress.budgets.costs import costs_of
from compress.budgets.devices import device
from compress.budgets.estimates import estimates
from compress.budgets.grammar import Limit, devices_of
from compress.budgets.variants import HOST
from compress.engine.config import Settings
from compress.engine.errors import Clip2EdgeError
from compress.engine.hub import hub_answers
from compress.search.candidates import Candidate
from compress.search.stages import SKETCH, SKETCH_BENCH, StageMaker
from compress.search.zoo import with_candidate


def survey(
    settings: Settings,
    students: Iterable[str],
    size: int,
    limits: Sequence[Limit],
    calibrations: Sequence[Calibration],
    stages: StageMaker,
) -> list[Candidate]:
    """The candidates of one resolution with all that can be known before training."""
    online = not settings.data.offline and hub_answers()
    candidates = [Candidate(name, size, with_candidate(settings, name, size)) for name in students]
    with stages.progress.task("sketch candidates", total=len(candidates), unit="student") as task:
        for candidate in candidates:
            _sketch(candidate, stages, online)
            task.advance()
    devices = devices_of(limits)
    sketches = {c.name: c.sketch for c in candidates if c.sketch is not None}
    for candidate in candidates:
        if candidate.sketch is not None:
            folder = candidate.sketch.path
            files = candidate.sketch.facts["files"]
            candidate.costs = {key: costs_of(folder / file) for key, file in files.items()}
            for name in devices:
                known = estimates(candidate.costs, device(name), calibrations)
                candidate.estimated[name] = {key: one.to_json() for key, one in known.items()}
    if HOST in devices and sketches:
        stage = replace(SKETCH_BENCH, needs=tuple(sketches))
        rows = stages.make(stage, settings, sketches).facts["rows"]
        for candidate in candidates:
            candidate.measured = rows.get(candidate.name, {})
    return candidates


def _sketch(candidate: Candidate, stages: StageMaker, online: bool) -> None:
    """Makes the untrained files of a candidate, or says why there are none."""
    from compress.distill.missing import missing_student

    absent = missing_student(candidate.settings.distill, online)
    if absent is not None:
        candidate.why = f"its first weights are neither here nor reachable: {absent}"
        return
    data = stages.make("data", candidate.settings)
    try:
        candidate.sketch = stages.make(SKETCH, candidate.settings, {"data": data})
    except Clip2EdgeError as error:
        candidate.why = f"cannot be exported: {error}"
