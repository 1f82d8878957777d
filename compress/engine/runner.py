"""Runs stages: what the store holds is kept, the rest is made, and a run folder links to all of
it.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.engine.config import HostSettings, Settings
from compress.engine.progress import SILENT, Progress
from compress.engine.stage import Stage, StageContext, identity, key_of
from compress.engine.store import Artifact, Store, lock, write_json
from compress.engine.versions import versions


@dataclass
class Run:
    """A build: its settings, its folder and its finished stages."""

    name: str
    folder: Path
    settings: Settings
    stages: dict[str, Artifact] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    @property
    def bundle(self) -> Path:
        """What ships."""
        return self.folder / "bundle"

    @property
    def report(self) -> dict[str, Any]:
        """report.json of a finished build."""
        loaded: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return loaded


def make(
    stage: Stage,
    settings: Settings,
    finished: Mapping[str, Artifact],
    store: Store,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
) -> Artifact:
    """One stage: what the store holds of it, made first where it holds nothing.

    Args:
        finished: the stages that it needs, and perhaps others.
    """
    inputs = {need: finished[need] for need in stage.needs}
    made_from = identity(stage, settings, inputs)

    def fill(target: Path) -> dict[str, Any]:
        return stage.function()(
            StageContext(settings, inputs, target, settings.seed, host or HostSettings(), progress)
        )

    key = key_of(made_from)
    return store.get(stage.name, key) or store.make(stage.name, key, made_from, fill)


def run(
    stages: Sequence[Stage],
    settings: Settings,
    work: Path,
    name: str,
    *,
    publish: Callable[[Run], None],
    host: HostSettings | None = None,
    progress: Progress = SILENT,
    command: str | None = None,
) -> Run:
    """Makes every stage that is not finished yet and links them into ``work/runs/<name>``.

    Args:
        stages: in order; each needs only earlier ones.
        publish: copies what a person looks for to the top of the run folder; called while the
            folder is locked.

    Raises:
        StoreError: the run folder is in use by another build, or the disk is full.
        Clip2EdgeError: whatever a stage refuses.
    """
    import yaml

    folder = work / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    store, built, host = Store(work / "store"), Run(name, folder, settings), host or HostSettings()
    with lock(folder / ".lock", f"run {name!r}"):
        (folder / "config.yaml").write_text(yaml.safe_dump(settings.plain(), sort_keys=False))
        record = {
            "command": command or " ".join(sys.argv),
            "versions": versions(),
            "host": platform.node(),
            "start": _now(),
        }
        write_json(folder / "run.json", record)
        for stage in stages:
            made_from = identity(stage, settings, built.stages)
            key = key_of(made_from)
            finished = store.get(stage.name, key)
            _log(folder, "keep" if finished else "make", stage.name, key)
            if finished is None:
                finished = make(stage, settings, built.stages, store, host, progress)
                built.made.append(stage.name)
                _log(folder, "made", stage.name, key, seconds=finished.seconds)
            built.stages[stage.name] = finished
            _link(folder / stage.name, finished.path)
        publish(built)
        write_json(folder / "run.json", {**record, "end": _now(), "made": built.made})
    return built


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(os.path.relpath(target, link.parent))


def _log(folder: Path, event: str, stage: str, key: str, **more: Any) -> None:
    with (folder / "log.jsonl").open("a") as file:
        file.write(
            json.dumps({"time": _now(), "event": event, "stage": stage, "key": key, **more}) + "\n"
        )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
