"""The command line that repeats a run: the shortest that resolves to the same settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compress.engine import config
from compress.engine import options as resolution
from compress.engine.config import Settings

# settings that say nothing about the result: where named datasets lie here, and the notes
ELSEWHERE = frozenset({"data.root", "notes"})


@dataclass(frozen=True)
class Repetition:
    """Options of the command line, and the settings that they leave to be changed."""

    preset: str | None
    options: Mapping[str, Any]
    changed: Mapping[str, object]

    @property
    def command(self) -> str:
        """One line for a shell."""
        words = ["compress", "build"]
        for name, value in self.options.items():
            if value is True:
                words.append(f"--{name}")
            elif name == "teacher":
                words += [word for one in value for word in ("--teacher", one)]
            elif value is not None and not (name == "seed" and value == 0):
                text = ",".join(value) if isinstance(value, tuple) else str(value)
                words += [f"--{name}", text]
        for path, setting in self.changed.items():
            words += ["--set", f"{path}={json.dumps(setting, ensure_ascii=False)}"]
        return shlex.join(words)


def command(settings: Settings) -> str:
    """One line for a shell; images named by a path have to lie where they lay."""
    return _shortest(settings).command


def preset(settings: Settings) -> tuple[str | None, int]:
    """The preset that describes a run best, and how many settings differ from it."""
    shortest = _shortest(settings)
    return shortest.preset, len(shortest.changed)


def _shortest(settings: Settings) -> Repetition:
    """The options that leave the fewest settings to be changed."""
    data = settings.data
    source: dict[str, Any] = {"dataset": data.dataset}
    if data.classes is not None:
        source = {"classes": data.classes}
    elif data.path is not None:  # the teacher also says which world the images are from
        source = {"data": data.path, "teacher": (settings.teacher.name, *settings.teacher.others)}
    if data.dataset != "petals" and data.path is None and settings.teacher.name == "petals":
        source["teacher"] = ("petals",)
    if data.offline:
        source["offline"] = True
    candidates = []
    for name in (None, *config.preset_names()):
        options = {"shots": data.shots, "seed": settings.seed, "preset": name, **source}
        resolved = resolution.settings_for(**options).plain()
        candidates.append(Repetition(name, options, dict(_changes(settings.plain(), resolved))))
    return min(candidates, key=lambda one: (len(one.changed), one.preset is not None, one.command))


def _changes(
    actual: Mapping[str, Any], resolved: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, object]]:
    for name, value in actual.items():
        if isinstance(value, Mapping):
            yield from _changes(value, resolved[name], f"{prefix}{name}.")
        elif value != resolved[name] and f"{prefix}{name}" not in ELSEWHERE:
            yield f"{prefix}{name}", value
