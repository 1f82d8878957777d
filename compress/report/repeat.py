"""The command line that repeats a run: the shortest flags and ``--set`` that resolve to the same
settings.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from compress.engine import config
from compress.engine import options as resolution
from compress.engine.config import Settings

#: what says nothing about the result: where named datasets lie on this machine, and the notes
ELSEWHERE = frozenset({"data.root", "notes"})


def command(settings: Settings) -> str:
    """One line for a shell; images named by a path have to lie where they lay."""
    return _line(*_shortest(settings))


def preset(settings: Settings) -> tuple[str | None, int]:
    """The preset that describes a run best, if one does, and how many settings differ from it."""
    options, changed = _shortest(settings)
    return options["preset"], len(changed)


def _shortest(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the command line that leave the fewest settings to be changed, and those
    settings.
    """
    data, candidates = settings.data, []
    for name in (None, *config.preset_names()):
        options: dict[str, Any] = {"shots": data.shots, "seed": settings.seed, "preset": name}
        if data.classes is not None:
            options["classes"] = data.classes
        elif data.path is not None:
            # the teacher also says which world it came from
            options.update(data=data.path, teacher=settings.teacher.name)
        else:
            options["dataset"] = data.dataset
        if data.dataset != "petals" and data.path is None and settings.teacher.name == "petals":
            options["teacher"] = "petals"
        if data.offline:
            options["offline"] = True
        changed = dict(_changes(settings.plain(), resolution.settings_for(**options).plain()))
        candidates.append(
            (len(changed), name is not None, _line(options, changed), options, changed)
        )
    return min(candidates, key=lambda found: found[:3])[3:]


def _changes(
    wanted: Mapping[str, Any], given: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for name, value in wanted.items():
        if isinstance(value, Mapping):
            yield from _changes(value, given[name], f"{prefix}{name}.")
        elif value != given[name] and f"{prefix}{name}" not in ELSEWHERE:
            yield f"{prefix}{name}", value


def _line(options: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    words = ["compress", "build"]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and not (name == "seed" and value == 0):
            words += [f"--{name}", ",".join(value) if isinstance(value, tuple) else str(value)]
    for path, value in changed.items():
        words += ["--set", f"{path}={json.dumps(value, ensure_ascii=False)}"]
    return shlex.join(words)
