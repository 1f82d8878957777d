"""What a build would do, stage by stage, and why; nothing is made here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.engine.config import Settings
from compress.engine.errors import Clip2EdgeError, require_known
from compress.engine.stage import Stage, identity, key_of
from compress.engine.store import PARTIAL, Artifact, Identity, Store


@dataclass(frozen=True)
class Step:
    """One line of a plan: what happens to a stage, and why."""

    stage: str
    action: str  # "keep", "make", "resume" or "behind <stage>"
    key: str | None
    why: tuple[str, ...] = ()


def up_to(stages: Sequence[Stage], until: str | None) -> Sequence[Stage]:
    """The stages up to and including ``until``, or all; ConfigError if none has that name."""
    if until is None:
        return stages
    names = [stage.name for stage in stages]
    require_known(until, names, "--until names no stage")
    return stages[: names.index(until) + 1]


def plan(
    stages: Sequence[Stage], settings: Settings, work: Path, until: str | None = None
) -> list[Step]:
    """What a build with these settings would do."""
    store = Store.of(work)
    steps: list[Step] = []
    inputs: dict[str, Artifact] = {}
    blocked = ""  # the first stage that is not finished
    for stage in up_to(stages, until):
        if not inputs.keys() >= set(stage.needs):
            why = f"needs {blocked}, which is to be made"
            steps.append(Step(stage.name, f"behind {blocked}", None, (why,)))
            continue
        made_from = identity(stage, settings, inputs)
        key = key_of(made_from)
        if artifact := store.get(stage.name, key):
            inputs[stage.name] = artifact
            why = "finished with the same settings and inputs"
            steps.append(Step(stage.name, "keep", key, (why,)))
            continue
        action = "resume" if (store.part(stage.name, key) / PARTIAL).exists() else "make"
        steps.append(Step(stage.name, action, key, _differences(store, stage.name, made_from)))
        blocked = blocked or stage.name
    return steps


def nothing_to_make(
    stages: Sequence[Stage], settings: Settings, work: Path, until: str | None = None
) -> bool:
    """Whether every stage is finished, so that nothing can stand in the way of a build."""
    try:
        return all(step.action == "keep" for step in plan(stages, settings, work, until))
    except (Clip2EdgeError, OSError, ValueError):  # preflight says it, with all else that is wrong
        return False


def explain(stages: Sequence[Stage], settings: Settings, work: Path, stage: str) -> Step:
    """Why a stage is kept or made again, field by field; ConfigError for an unknown stage."""
    require_known(stage, [row.name for row in stages], "no such stage")
    return plan(stages, settings, work, stage)[-1]


def _differences(store: Store, stage: str, made_from: Identity) -> tuple[str, ...]:
    """How an identity differs from the most similar finished one, one field a line."""
    new = _flatten(made_from)
    compared = [
        tuple(
            f"{name}: {_short(old.get(name))} -> {_short(new.get(name))}"
            for name in sorted(new.keys() | old.keys())
            if old.get(name) != new.get(name)
        )
        for old in (_flatten(other.identity) for other in store.stages(stage))
    ]
    return min(compared, key=len, default=("never made in this work folder",))


def changes(before: Settings, after: Settings) -> list[str]:
    """The settings that differ, one a line: "data.shots: 4 -> 8"."""
    old, new = _flatten(before.plain()), _flatten(after.plain())
    return [
        f"{name}: {_short(old.get(name))} -> {_short(new.get(name))}"
        for name in sorted(new.keys() | old.keys())
        if old.get(name) != new.get(name)
    ]


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 48 else f"{text[:12]}…{text[-4:]}"


def _flatten(value: object, prefix: str = "") -> dict[str, object]:
    """Dotted path -> leaf."""
    if not isinstance(value, Mapping):
        return {prefix.rstrip("."): value}
    inner = [_flatten(part, f"{prefix}{name}.") for name, part in value.items()]
    return {path: leaf for leaves in inner for path, leaf in leaves.items()}
