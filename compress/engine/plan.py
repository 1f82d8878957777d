"""What a build would do, stage by stage, and why: nothing is made here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.engine.config import Settings
from compress.engine.errors import ConfigError, nearest
from compress.engine.stage import Stage, identity, key_of
from compress.engine.store import Artifact, Store


@dataclass(frozen=True)
class Step:
    """One line of a plan: what happens to a stage, and why."""

    stage: str
    action: str  # "keep", "make", "resume" or "behind <stage>"
    key: str | None
    why: tuple[str, ...] = ()


def up_to(stages: Sequence[Stage], until: str | None) -> Sequence[Stage]:
    """The stages up to and with ``until``; all of them for None.

    Raises:
        ConfigError: no stage has that name.
    """
    if until is None:
        return stages
    names = [stage.name for stage in stages]
    if until not in names:
        raise ConfigError("--until names no stage", got=repr(until), remedy=nearest(until, names))
    return stages[: names.index(until) + 1]


def plan(
    stages: Sequence[Stage], settings: Settings, work: Path, until: str | None = None
) -> list[Step]:
    """What a build with these settings would do, without doing it."""
    store, steps, blocked = Store(work / "store"), [], None
    inputs: dict[str, Artifact] = {}
    for stage in up_to(stages, until):
        missing = [need for need in stage.needs if need not in inputs]
        if missing:
            steps.append(
                Step(
                    stage.name,
                    f"behind {blocked}",
                    None,
                    (f"needs {blocked}, which is to be made",),
                )
            )
            continue
        made_from = identity(stage, settings, inputs)
        key = key_of(made_from)
        found = store.get(stage.name, key)
        if found:
            inputs[stage.name] = found
            steps.append(
                Step(stage.name, "keep", key, ("finished with the same settings and inputs",))
            )
        else:
            part = store.folder(stage.name, f".{key}.part")
            action = "resume" if (part / "partial").exists() else "make"
            steps.append(
                Step(stage.name, action, key, tuple(differences(store, stage.name, made_from)))
            )
            blocked = blocked or stage.name
    return steps


def explain(stages: Sequence[Stage], settings: Settings, work: Path, stage: str) -> Step:
    """Why a stage is kept or remade, field by field."""
    names = [row.name for row in stages]
    if stage not in names:
        raise ConfigError("no such stage", got=repr(stage), remedy=nearest(stage, names))
    return plan(stages, settings, work, stage)[-1]


def differences(store: Store, stage: str, wanted: dict[str, Any]) -> list[str]:
    """How an identity differs from the most similar finished one, one field a line."""
    others = [artifact.identity for artifact in store.stages() if artifact.stage == stage]
    if not others:
        return ["never made in this work folder"]
    flat = _flatten(wanted)
    compared = [(_changes(flat, _flatten(other))) for other in others]
    return min(compared, key=len)


def _changes(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    names = sorted(set(new) | set(old))
    return [
        f"{n}: {_short(old.get(n))} -> {_short(new.get(n))}"
        for n in names
        if old.get(n) != new.get(n)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 48 else f"{text[:12]}…{text[-4:]}"


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    out: dict[str, Any] = {}
    for name, inner in value.items():
        out.update(_flatten(inner, f"{prefix}{name}."))
    return out
