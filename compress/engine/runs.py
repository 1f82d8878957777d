"""Run folders: their files, finding one by name, opening one as a stage sees it, cleaning up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from compress.engine.config import HostSettings, Layer, Settings, read_layer, resolve
from compress.engine.errors import ConfigError, StoreError, nearest
from compress.engine.locks import Held, lock
from compress.engine.progress import SILENT, Progress
from compress.engine.stage import StageContext
from compress.engine.store import MANIFEST, Artifact, Store, is_place, write_json
from runtime.files.regular import open_file
from runtime.files.strict_json import to_text

if TYPE_CHECKING:
    from typing import NotRequired

RUNS = "runs"  # in a work folder
CONFIG = "config.yaml"
RECORD = "run.json"
LOG = "log.jsonl"
SEARCH_LOCK = ".search.lease"
NAME_BYTES = 200  # longest name of a run


class RunRecord(TypedDict):
    """run.json; ``end`` and ``made`` are absent until the run ends."""

    command: str
    versions: dict[str, str]
    host: str
    start: str
    threads: NotRequired[int]  # of torch: another number may change last bits
    stages: NotRequired[dict[str, str]]  # stage -> its key in the store; older runs have links only
    end: NotRequired[str]
    made: NotRequired[list[str]]


def plain_name(name: str) -> str:
    """``name`` if a run may have it; ConfigError for what is a path or no file name everywhere."""
    fits = 0 < len(os.fsencode(name)) <= NAME_BYTES and name.isprintable() and name == name.strip()
    if not fits or name[0] in ".-~" or set(name) & set('/\\:*?"<>|'):
        raise ConfigError(
            "a run cannot have this name",
            got=repr(name[:NAME_BYTES]),
            expected=f'a plain name of at most {NAME_BYTES} bytes, without / \\ : * ? " < > |',
            remedy="--name exp-1; another place for all runs: --work-dir",
        )
    return name


def as_plain_name(text: str) -> str:
    """The name of a run that comes closest to a text."""
    odd = '/\\:*?"<>|'
    kept = "".join("_" if c in odd or not c.isprintable() else c for c in text).strip()
    kept = kept.encode("utf-8", "replace").decode()
    kept = f"_{kept}" if kept[:1] in ("", ".", "-", "~") else kept
    if len(kept.encode()) > NAME_BYTES:
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
        kept = kept.encode()[: NAME_BYTES - 9].decode("utf-8", "ignore") + f"-{digest}"
    return kept


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and the only code that spells its file names.

    config.yaml   the resolved settings, which repeat the run
    run.json      its record: command, versions, host, start and end
    log.jsonl     a line per event of a stage
    bundle/       what ships
    <stage>       a link into the store
    sensitivity.json  what int8 costs and saves per block, once ``compress sensitivity`` ran

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
    def sensitivity(self) -> Path:
        return self.path / "sensitivity.json"

    @property
    def store(self) -> Store:
        """The store of the work folder that it is in."""
        folder = Path(os.path.abspath(self.path))
        above = (parent.parent for parent in folder.parents if parent.name == RUNS)
        return Store.of(next(above, folder.parent.parent))

    @property
    def exists(self) -> bool:
        """Whether a run has started here."""
        return self.config.is_file() or (self.path / RECORD).is_file()

    @property
    def repeat(self) -> str:
        """The command that builds the run again, or finishes it."""
        return f"compress build --config {shlex.quote(str(self.config))}"

    def layer(self) -> Layer:
        """The settings in config.yaml."""
        return read_layer(self.config)

    def record(self) -> RunRecord:
        """run.json; ConfigError if it cannot be read."""
        try:
            with open_file(self.path / RECORD) as file:
                record: RunRecord = json.load(file)
            texts = [record.get(name) for name in ("command", "start", *({"end"} & record.keys()))]
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("it holds no command and no times")
            keys = record.get("stages", {})
            if not isinstance(keys, dict) or not all(is_place(*row) for row in keys.items()):
                raise ValueError("it holds stages without their keys")
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            what = "the record of this run is damaged"
            got = f"{self.path / RECORD}: {error}"
            raise ConfigError(what, got=got, remedy=f"write it again: {self.repeat}") from error
        return record

    @property
    def damage(self) -> str | None:
        """What is wrong with run.json, if it is there and cannot be read."""
        if os.path.lexists(self.path / RECORD):
            try:
                self.record()
            except ConfigError as error:
                return str(error)
        return None

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
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(to_text(line) + "\n")

    def link(self, stage: str, folder: Path) -> None:
        """Shows a stage in the run's folder, where the file system can; the record counts."""
        link = self.path / stage
        if link.is_dir() and not link.is_symlink():  # a copy that followed links has the stage here
            if not (link / MANIFEST).is_file():
                return
            shutil.rmtree(link)
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(folder, self.path))

    @property
    def recorded(self) -> Mapping[str, str]:
        """The keys of its stages in run.json, by name; none if that cannot be read."""
        try:
            return self.record().get("stages", {})
        except ConfigError:
            return {}

    def stages(self) -> dict[str, Path]:
        """The folders of its stages, by name: as recorded, or where its links lead."""
        entries = sorted(self.path.iterdir()) if self.path.is_dir() else []
        there = ((entry, Path(os.path.realpath(entry))) for entry in entries)
        found = {
            entry.name: place
            for entry, place in there
            if (entry.name == place.parent.name and is_place(entry.name, place.name))
            or (entry / MANIFEST).is_file()  # a copy that followed links
        }
        store = self.store
        recorded = {name: store.folder(name, key) for name, key in self.recorded.items()}
        return found | {name: path for name, path in recorded.items() if path.is_dir()}

    def require_whole(self) -> None:
        """Raises ConfigError if its stages are of several builds, the last of which did not end."""
        folders = self.stages()
        made = {
            name: json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            for name, folder in folders.items()
            if (folder / MANIFEST).is_file()
        }
        for name, manifest in made.items():
            for needed, content in manifest["identity"]["inputs"].items():
                if needed in made and made[needed]["content"] != content:
                    raise ConfigError(
                        "this run is half rebuilt: a build with other settings did not end",
                        got=f"stage {name} was made from another stage {needed}",
                        remedy=f"{self.repeat} finishes it; the command of the earlier build "
                        "makes it as it was",
                    )

    def keys(self) -> dict[str, str]:
        """The keys of its stages, by name, as far as they are in a store."""
        rows = ((name, path.name) for name, path in self.stages().items())
        return {name: key for name, key in rows if is_place(name, key)}

    def used(self) -> list[Path]:
        """The folders in the store that it may need; of a damaged record, all it ever logged."""
        used = list(self.stages().values())
        try:
            if "stages" in self.record():
                return used
        except ConfigError:
            pass
        store = self.store
        with contextlib.suppress(OSError):
            with open_file(self.path / LOG) as file:
                lines = file.read().decode("utf-8", "replace").splitlines()
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                    event = json.loads(line)
                    if is_place(event["stage"], event["key"]):
                        used.append(store.folder(event["stage"], event["key"]))
        return used

    def lock(self) -> AbstractContextManager[Held]:
        """Keeps other builds out; raises StoreError if one is inside."""
        return lock(self.path / ".lease", f"run {self.path.name!r}")


def now() -> str:
    """The local time with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def run_folders(work: Path) -> list[RunFolder]:
    """The runs of a work folder, by name."""
    folders = {file.parent for name in (CONFIG, RECORD) for file in (work / RUNS).glob(f"*/{name}")}
    return [RunFolder(folder) for folder in sorted(folders)]


def find_run(run: str | Path, work: Path) -> Path:
    """The folder of a run, given by its name in a work folder or by its path, or ConfigError."""
    for folder in (RunFolder.of(work, run), RunFolder(Path(run))):
        if folder.exists:
            return Path(os.path.realpath(folder.path))
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
    run.require_whole()
    stages: dict[str, Artifact] = {}
    for name, target in run.stages().items():
        artifact = Store(target.parents[1]).get(name, target.name)
        if artifact is None:
            what = f"stage {name} of this run is gone or damaged"
            raise ConfigError(what, got=target, remedy=run.repeat)
        stages[name] = artifact
    return StageContext(settings, stages, folder, settings.seed, host or HostSettings(), progress)


def require_stages(ctx: StageContext, *names: str) -> None:
    """Raises ConfigError if the run lacks one of the stages ``names``."""
    if missing := [name for name in names if name not in ctx.inputs]:
        got = f"no {', '.join(missing)}"
        remedy = RunFolder(ctx.folder).repeat
        raise ConfigError("this run is not finished", got=got, remedy=remedy)


def clean(work: Path, *, dry_run: bool = False) -> tuple[int, int]:
    """Removes stage folders that no run names, unfinished ones, and the cache of rendered views.

    Gives the number of folders, and the bytes of it all. Raises StoreError while a build is running
    here.
    """
    store = Store.of(work)
    with contextlib.ExitStack() as held:
        runs = all_runs(work)
        for run in runs:
            held.enter_context(run.lock())
            if (searching := run.path / SEARCH_LOCK).exists():
                held.enter_context(lock(searching, f"search of run {run.path.name!r}"))
        kept = {os.path.realpath(path) for run in runs for path in run.used()}
        removed = freed = 0
        for folder in sorted(store.root.glob("*/*")):
            if not folder.is_dir() or os.path.realpath(folder) in kept:
                continue
            if folder.suffix == ".part":
                try:
                    what = f"stage {folder.parent.name}"
                    held.enter_context(lock(folder.with_suffix(".lease"), what))
                except StoreError:  # a build is filling it
                    continue
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            removed += 1
            if not dry_run:
                shutil.rmtree(folder)
                store.forget(folder)
        views = list(store.views.iterdir()) if store.views.is_dir() else []
        freed += sum(file.stat().st_size for file in views)
        for file in () if dry_run else views:
            file.unlink()
    return removed, freed


def all_runs(work: Path) -> list[RunFolder]:
    """Every folder below ``runs`` that a build has written to, nested ones of old versions too."""
    files = [file for name in (CONFIG, RECORD, LOG) for file in (work / RUNS).rglob(name)]
    return [RunFolder(folder) for folder in sorted({file.parent for file in files})]
