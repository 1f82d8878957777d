"""Runs stages: what the store has is kept, the rest is made, and the run folder links to it all."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from compress.engine import ranks
from compress.engine.config import HostSettings, Settings
from compress.engine.config import resolve as resolve_settings
from compress.engine.errors import StoreError
from compress.engine.memory import kept_memory
from compress.engine.progress import SILENT, Progress
from compress.engine.runs import RunFolder, RunRecord, now
from compress.engine.stage import Stage, StageContext, context, identity, key_of, resolve
from compress.engine.store import Artifact, Facts, Store
from compress.engine.system_errors import system_errors
from compress.engine.threads import limit_threads
from compress.engine.versions import versions


@dataclass(repr=False)
class BaseRun:
    """A build, as far as the engine knows it."""

    name: str
    folder: Path
    settings: Settings
    stages: dict[str, Artifact] = field(default_factory=dict)  # the finished ones
    made: list[str] = field(default_factory=list)  # by this call; the others were in the store

    @property
    def bundle(self) -> Path:
        """The folder that ships."""
        return RunFolder(self.folder).bundle

    def __repr__(self) -> str:
        counts = f"{len(self.stages)} stages, {len(self.made)} made"
        return f"{type(self).__name__}({self.name!r}, {counts}, {str(self.folder)!r})"


AnyRun = TypeVar("AnyRun", bound=BaseRun)


def make(
    stage: Stage,
    settings: Settings,
    finished: Mapping[str, Artifact],
    store: Store,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
) -> Artifact:
    """A stage from the store, made first from the ``finished`` ones if it is not there."""
    inputs = {need: finished[need] for need in stage.needs}
    made_from = identity(stage, settings, inputs)
    key = key_of(made_from)

    def fill(folder: Path) -> Facts:
        ctx = context(store, settings, inputs, folder, made_from, host, progress)
        if stage.machine_bound:  # measures this process as it is
            return resolve(stage.run)(ctx)
        with kept_memory():
            return trained(ctx) if stage.trains else resolve(stage.run)(ctx)

    def trained(ctx: StageContext) -> Facts:
        keys = {name: artifact.path.name for name, artifact in inputs.items()}
        whole = {"settings": settings.plain(), "inputs": keys, "identity": made_from}
        with ranks.leading({"run": stage.run, **whole}):
            return resolve(stage.run)(ctx)

    finished_before = store.get(stage.name, key)
    return finished_before or store.make(
        stage.name, key, made_from, fill, progress.note, limit_threads()
    )


def follow(store: Store, host: HostSettings) -> None:
    """Trains what rank 0 of torchrun trains, until its build is finished.

    Raises:
        RankError: rank 0 has ended early.
        StoreError: this machine does not see the stages that rank 0 has made.
    """
    limit_threads()
    for order in ranks.orders():
        settings = resolve_settings(order["settings"])
        inputs: dict[str, Artifact] = {}
        for name, key in order["inputs"].items():
            artifact = store.get(name, key)
            if artifact is None:
                raise StoreError(
                    f"rank {os.environ['RANK']} of torchrun does not see the work folder of rank 0",
                    got=f"no {store.folder(name, key)} on {platform.node()}",
                    remedy="give all machines the same folder, or object storage: "
                    "--work-dir s3://...",
                )
            inputs[name] = artifact
        with tempfile.TemporaryDirectory() as folder, ranks.following(), kept_memory():
            ctx = context(store, settings, inputs, Path(folder), order["identity"], host, SILENT)
            resolve(order["run"])(ctx)


def run(
    stages: Sequence[Stage],
    built: AnyRun,
    store: Store,
    *,
    publish: Callable[[AnyRun], None],
    host: HostSettings | None = None,
    progress: Progress = SILENT,
    command: str | None = None,
) -> AnyRun:
    """Makes every stage that is not finished yet, and links them all into the run's folder.

    Args:
        built: the run to fill; also returned.
        publish: copies results to the top of the run folder, while that is locked.

    Raises:
        StoreError: another build uses the run folder, or the disk is full.
        Clip2EdgeError: whatever a stage refuses.
    """
    folder = RunFolder(built.folder)
    settings = built.settings
    with system_errors(store.root), folder.lock():
        store.wait_for_clean()
        if damage := folder.damage:
            progress.note(damage)
        ended = folder.ended
        record: RunRecord = {
            "command": command or " ".join(sys.argv),
            "versions": versions(),
            "host": platform.node(),
            "start": now(),
            "threads": limit_threads(),
            "stages": folder.keys(),
        }
        folder.write_record(record)
        folder.write_config(settings)
        for number, stage in enumerate(stages, 1):
            key = key_of(identity(stage, settings, built.stages))
            artifact = store.get(stage.name, key)
            folder.log("keep" if artifact else "make", stage.name, key)
            record["stages"][stage.name] = key
            if artifact is None:
                if damage := store.damage(stage.name, key):
                    folder.log("damaged", stage.name, key, why=damage)
                progress.stage(stage.name, number, len(stages))
                artifact = make(stage, settings, built.stages, store, host, progress)
                built.made.append(stage.name)
                folder.log("made", stage.name, key, seconds=artifact.seconds)
                folder.write_record(record)
            built.stages[stage.name] = artifact
            folder.link(stage.name, artifact.path)
        publish(built)
        if built.made or ended is None:  # a run that makes nothing ended before
            ended = now()
        folder.write_record({**record, "end": ended, "made": built.made})
    return built
