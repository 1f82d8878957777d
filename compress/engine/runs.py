"""Run folders: their files, finding one by name, opening one as a stage sees it, cleaning up."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from compress.engine.config import HostSettings, Layer, Settings, read_layer, resolve
from compress.engine.errors import ConfigError, StoreError, nearest
from compress.engine.progress import SILENT, Progress
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, Store, lock, write_json

if TYPE_CHECKING:
    from typing import NotRequired

RUNS = "runs"  # in a work folder
CONFIG = "config.yaml"
RECORD = "run.json"


class RunRecord(TypedDict):
    """run.json; the last two are absent until the run ends."""

    command: str
    versions: dict[str, str]
    host: str
    start: str
    end: NotRequired[str]
    made: NotRequired[list[str]]


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and the only code that spells its file names.

    config.yaml   the resolved settings, which repeat the run
    run.json      its record: command, versions, host, start and end
    log.jsonl     a line per event of a stage
    bundle/       what ships
    <stage>       a link into the store

    The report's files are in ``compress/report/artifact.py``.
    """

    path: Path

    @classmethod
    def of(cls, work: Path, name: str | Path) -> RunFolder:
        """The folder of a run in a work folder, whether or not it exists."""
        return cls(work / RUNS / name)

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def exists(self) -> bool:
        """Whether a run has started here."""
        return self.config.is_file()

    @property
    def repeat(self) -> str:
        """The command that builds the run again, or finishes it."""
        return f"compress build --config {self.config}"

    def layer(self) -> Layer:
        """The settings in config.yaml."""
        return read_layer(self.config)

    def record(self) -> RunRecord:
        """run.json."""
        record: RunRecord = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        return record

    def write_config(self, settings: Settings) -> None:
        """Writes config.yaml."""
        import yaml

        self.config.write_text(yaml.safe_dump(settings.plain(), sort_keys=False), encoding="utf-8")

    def write_record(self, record: RunRecord) -> None:
        """Writes run.json."""
        write_json(self.path / RECORD, record)

    def log(self, event: str, stage: str, key: str, **more: object) -> None:
        """Adds a line to log.jsonl."""
        line = {"time": now(), "event": event, "stage": stage, "key": key, **more}
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def links(self) -> list[Path]:
        """The links to its stages."""
        return sorted(entry for entry in self.path.iterdir() if entry.is_symlink())

    def lock(self) -> AbstractContextManager[None]:
        """Keeps other builds out; raises StoreError if one is inside."""
        return lock(self.path / ".lock", f"run {self.path.name!r}")


def now() -> str:
    """The local time with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def run_folders(work: Path) -> list[RunFolder]:
    """The runs of a work folder, by name."""
    return [RunFolder(file.parent) for file in sorted((work / RUNS).glob(f"*/{CONFIG}"))]


def find_run(run: str | Path, work: Path) -> Path:
    """The folder of a run, given by its path or by its name in a work folder, or ConfigError."""
    for folder in (RunFolder(Path(run)), RunFolder.of(work, run)):
        if folder.exists:
            return folder.path.resolve()
    known = [folder.path.name for folder in run_folders(work)]
    raise ConfigError(
        "no such run",
        got=repr(str(run)),
        expected="a folder of WORK/runs, or its name",
        remedy=nearest(str(run), known) if known else "compress build makes one",
    )


def open_run(
    folder: Path, progress: Progress = SILENT, host: HostSettings | None = None
) -> StageContext:
    """The settings and stages of a run, or ConfigError; the context's ``folder`` is the run's."""
    run = RunFolder(folder)
    settings = resolve(run.layer())
    stages: dict[str, Artifact] = {}
    for link in run.links():
        target = link.resolve()
        artifact = Store(target.parents[1]).get(link.name, target.name)
        if artifact is None:
            what = f"stage {link.name} of this run is gone or damaged"
            raise ConfigError(what, got=target, remedy=run.repeat)
        stages[link.name] = artifact
    return StageContext(settings, stages, folder, settings.seed, host or HostSettings(), progress)


def require_stages(ctx: StageContext, *names: str) -> None:
    """Raises ConfigError if the run lacks one of the stages ``names``."""
    if missing := [name for name in names if name not in ctx.inputs]:
        got = f"no {', '.join(missing)}"
        remedy = RunFolder(ctx.folder).repeat
        raise ConfigError("this run is not finished", got=got, remedy=remedy)


def clean(work: Path, *, dry_run: bool = False) -> tuple[int, int]:
    """Removes stage folders that no run links to, and unfinished ones no process holds.

    Gives the number of folders, and their bytes.
    """
    kept = {link.resolve() for link in (work / RUNS).glob("*/*") if link.is_symlink()}
    removed = freed = 0
    for folder in sorted(Store.of(work).root.glob("*/*")):
        if not folder.is_dir() or folder.resolve() in kept:
            continue
        with contextlib.ExitStack() as held:
            if folder.suffix == ".part":
                try:
                    what = f"stage {folder.parent.name}"
                    held.enter_context(lock(folder.with_suffix(".lock"), what))
                except StoreError:  # a build is filling it
                    continue
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            removed += 1
            if not dry_run:
                shutil.rmtree(folder)
    return removed, freed
