"""Candidates of a search whose times and sizes are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.api import settings_for
from compress.engine.store import Artifact
from compress.search.candidates import Candidate, RungScore


def candidate(
    name: str,
    p50_ms: Mapping[str, float],
    size: Mapping[str, float],
    agreement: float | None = None,
    **more: Any,
) -> Candidate:
    """A candidate, trained if ``agreement`` (on 400 held-out images) is given."""
    facts = {"bytes": size, "refused": more.get("refused", {}), "params": 10, "files": {}}
    made = Candidate(name, 32, settings_for("petals"), Artifact("sketch", Path(), facts, name))
    made.measured = {key: {"p50_ms": value} for key, value in p50_ms.items()}
    made.estimated = more.get("estimated", {})
    if agreement is not None:
        made.rungs = [RungScore(5, "images", agreement, 0.02, 400)]
    return made


def small() -> Candidate:
    return candidate("small", {"fp32": 0.2, "int8": 0.3}, {"fp32": 4e5, "int8": 1e5}, 0.80)


def large() -> Candidate:
    return candidate("large", {"fp32": 2.0, "int8": 0.9}, {"fp32": 4e6, "int8": 1e6}, 0.90)
