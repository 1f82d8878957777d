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
from compress.engine.store import MANIFEST, UNREADABLE, Artifact, Store, is_place, write_json
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
        named = Path(os.path.abspath(self.path))
        tops = [_top(named), _top(Path(os.path.realpath(self.path)))]  # of a link, and behind it
        stores = [Store.of(top.parent) for top in tops if top]
        there = (store for store in stores if store.root.is_dir())
        return next(there, stores[0] if stores else Store.of(named.parent.parent))

    @property
    def name(self) -> str:
        """What ``find_run`` knows it by."""
        named = Path(os.path.abspath(self.path))
        return named.relative_to(_top(named) or named.parent).as_posix()

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

    @property
    def ended(self) -> str | None:
        """When it ended, as run.json says; None if it did not, or that cannot be read."""
        try:
            return self.record().get("end")
        except ConfigError:
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
            work = os.path.realpath(folder.parents[2])
            target = os.path.join(work, *folder.parts[-3:])
            link.symlink_to(os.path.relpath(target, os.path.realpath(self.path)))

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
        for name, place in found.items():
            if not place.is_dir() and (moved := store.folder(name, place.name)).is_dir():
                found[name] = moved  # the run was moved, and a link is in its place
        recorded = {name: store.folder(name, key) for name, key in self.recorded.items()}
        return found | {name: path for name, path in recorded.items() if path.is_dir()}

    def require_whole(self) -> None:
        """Raises ConfigError if its stages are of several builds, the last of which did not end."""
        contents: dict[str, str] = {}
        inputs: dict[str, Mapping[str, str]] = {}
        for name, folder in self.stages().items():
            with contextlib.suppress(*UNREADABLE), open_file(folder / MANIFEST) as file:
                manifest = json.load(file)  # whoever needs a damaged stage says so
                inputs[name] = dict(manifest["identity"]["inputs"])
                contents[name] = manifest["content"]
        for name, needs in inputs.items():
            for needed, content in needs.items():
                if contents.get(needed, content) != content:
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
    """The runs of a work folder, by name: what a build has written to below ``runs``.

    Runs behind links count, and nested ones of old versions; so does what cannot be looked into.
    """
    top = work / RUNS
    found: list[Path] = []
    seen: set[str] = set()
    todo = [top]
    while todo:
        folder = todo.pop()
        try:
            names = os.listdir(folder)
        except PermissionError:
            if folder == top:
                raise
            names = [CONFIG]
        except OSError:  # no folder, or a loop of links
            continue
        is_run = folder != top and not {CONFIG, RECORD, LOG}.isdisjoint(names)
        found += [folder] if is_run else []
        if (real := os.path.realpath(folder)) not in seen:
            seen.add(real)
            paths = [folder / name for name in names]
            # links in a run lead to its stages
            todo += [p for p in paths if os.path.isdir(p) and not (is_run and os.path.islink(p))]
    return [RunFolder(folder) for folder in sorted(found)]


def _top(folder: Path) -> Path | None:
    """The folder ``runs`` that is nearest above."""
    return next((parent for parent in folder.parents if parent.name == RUNS), None)


def find_run(run: str | Path, work: Path) -> Path:
    """The folder of a run, given by its name in a work folder or by its path, or ConfigError."""
    for folder in (RunFolder.of(work, run), RunFolder(Path(run))):
        if folder.exists:
            return Path(os.path.abspath(folder.path))  # through a link, to keep its work folder
    known = [folder.name for folder in run_folders(work)]
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

    Gives the number of folders, and the bytes of it all. What others put there stays.

    Raises:
        ConfigError: this is no work folder.
        StoreError: a build, or a slice of a stage, is being made here.
    """
    store = Store.of(work)
    own = store.remote or (work / RUNS).is_dir() or store.folders() or store.view_files()
    if os.path.lexists(work) and not own:
        expected = "runs/, or stages in store/"
        remedy = "name the folder that builds were given: --work-dir"
        raise ConfigError("this is no work folder", got=work, expected=expected, remedy=remedy)
    with contextlib.ExitStack() as held:
        runs = run_folders(work)
        for run in {os.path.realpath(run.path): run for run in runs}.values():  # each once
            held.enter_context(run.lock())
            if (searching := run.path / SEARCH_LOCK).exists():
                held.enter_context(lock(searching, f"search of run {run.path.name!r}"))
        held.enter_context(store.cleaning())
        kept = {os.path.realpath(path) for run in runs for path in run.used()}
        removed = freed = 0
        for folder in store.folders():
            if os.path.realpath(folder) in kept:
                continue
            if folder.suffix == ".part":
                try:
                    what = f"stage {folder.parent.name}"
                    held.enter_context(lock(folder.with_suffix(".lease"), what))
                except StoreError:  # a build is filling it
                    continue
            if not folder.is_symlink():  # of a link only itself goes
                freed += sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
            removed += 1
            if not dry_run:
                store.remove(folder)
        views = store.view_files()
        freed += sum(file.lstat().st_size for file in views)
        for file in () if dry_run else views:
            file.unlink(missing_ok=True)
    return removed, freed
