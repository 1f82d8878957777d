"""The stage table, and the engine that plans, runs and explains it.

    data ─► teacher ─┐
       └─► generate ─┴► label ─► distill ─► quantize ─► export ─► bench ─► report

A stage is made only if no finished folder has its key. Keys depend on the content of the inputs, so the keys of stages
behind an unfinished one are not known yet: the plan says "behind <stage>".
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.artifacts import Artifact, Store, canonical, lock, sha256_text, write_json
from compress.config import HostSettings, Settings
from compress.errors import ConfigError, StoreError, nearest
from compress.progress import SILENT, Progress
from compress.stages import Stage, StageContext, select

#: what of the data settings can change the images; where they lie (path, root, offline) cannot: their content is external
DATA_FIELDS = tuple(
    f"data.{f}"
    for f in [
        "dataset", "classes", "shots", "category", "style", "domain", "test_domains", "test_fraction", "test_limit",
        "max_pixels",
    ]
)  # fmt: skip
STAGES: tuple[Stage, ...] = (
    Stage(
        "data", (), (*DATA_FIELDS, "image", "seed"), "compress.data.stage:run", external="compress.data.stage:fingerprint",
        version=2,
    ),
    Stage(
        "teacher", ("data",), ("teacher", "label", "image", "seed"), "compress.probe:run",
        external="compress.teacher:fingerprint",
    ),
    Stage(
        "generate", ("data",), ("generate", "image", "seed"), "compress.generate.stage:run",
        external="compress.generate.stage:fingerprint", version=3,
    ),
    Stage(
        "label", ("data", "teacher", "generate"), ("label", "teacher", "image", "seed"), "compress.label:run",
        external="compress.teacher:fingerprint", version=2,
    ),
    Stage(
        "distill", ("data", "teacher", "generate", "label"), ("distill", "label", "image", "teacher", "seed"),
        "compress.distill.stage:run", external="compress.distill.students:fingerprint", version=2,
    ),
    Stage(
        "quantize", ("data", "teacher", "generate", "label", "distill"),
        ("quantize", "distill", "label", "image", "seed"), "compress.quantize.stage:run", version=2,
    ),
    Stage(
        "export", ("data", "teacher", "generate", "label", "distill", "quantize"),
        (*DATA_FIELDS, "image", "teacher", "generate", "label", "distill", "quantize", "export", "seed"), "export.stage:run",
        external="compress.teacher:fingerprint", version=4,
    ),
    Stage("bench", ("data", "export"), ("bench", "image", "seed"), "compress.bench:run", machine_bound=True, version=4),
    Stage(
        "report",
        ("data", "teacher", "generate", "label", "distill", "quantize", "export", "bench"),
        (*DATA_FIELDS, "image", "teacher", "generate", "label", "distill", "quantize", "export", "bench", "notes", "seed"),
        "compress.report.stage:run", machine_bound=True, version=4,
    ),
)  # fmt: skip
NAMES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True)
class Step:
    """One line of a plan: what happens to a stage, and why."""

    stage: str
    action: str  # "keep", "make", "resume" or "behind <stage>"
    key: str | None
    why: tuple[str, ...] = ()


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


def identity(stage: Stage, settings: Settings, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """Everything that can change what a stage makes."""
    out = {
        "stage": stage.name,
        "version": stage.version,
        "settings": select(settings, stage.sections),
        "inputs": {name: inputs[name].content for name in stage.needs},
        "external": stage.external_fingerprint(settings),
    }
    if stage.machine_bound:
        out["machine"] = sha256_text(canonical([platform.node(), platform.machine(), os.cpu_count()]))[:16]
    return out


def key_of(identity_: dict[str, Any]) -> str:
    """The store key of an identity: the first 32 hex digits of its SHA-256."""
    return sha256_text(canonical(identity_))[:32]


def select_stages(until: str | None) -> tuple[Stage, ...]:
    """The stages up to and with ``until``."""
    if until is None:
        return STAGES
    if until not in NAMES:
        raise ConfigError("--until names no stage", got=repr(until), remedy=nearest(until, NAMES))
    return STAGES[: NAMES.index(until) + 1]


def plan(settings: Settings, work: Path, until: str | None = None) -> list[Step]:
    """What a build with these settings would do, without doing it."""
    store, steps, blocked = Store(work / "store"), [], None
    inputs: dict[str, Artifact] = {}
    for stage in select_stages(until):
        missing = [need for need in stage.needs if need not in inputs]
        if missing:
            steps.append(Step(stage.name, f"behind {blocked}", None, (f"needs {blocked}, which is to be made",)))
            continue
        made_from = identity(stage, settings, inputs)
        key = key_of(made_from)
        found = store.get(stage.name, key)
        if found:
            inputs[stage.name] = found
            steps.append(Step(stage.name, "keep", key, ("finished with the same settings and inputs",)))
        else:
            part = store.folder(stage.name, f".{key}.part")
            action = "resume" if (part / "partial").exists() else "make"
            steps.append(Step(stage.name, action, key, tuple(differences(store, stage.name, made_from))))
            blocked = blocked or stage.name
    return steps


def explain(settings: Settings, work: Path, stage: str) -> Step:
    """Why a stage is kept or remade, field by field."""
    if stage not in NAMES:
        raise ConfigError("no such stage", got=repr(stage), remedy=nearest(stage, NAMES))
    return plan(settings, work, stage)[-1]


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
    return [f"{n}: {_short(old.get(n))} -> {_short(new.get(n))}" for n in names if old.get(n) != new.get(n)]


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
        return stage.function()(StageContext(settings, inputs, target, settings.seed, host or HostSettings(), progress))

    key = key_of(made_from)
    return store.get(stage.name, key) or store.make(stage.name, key, made_from, fill)


def run(
    settings: Settings,
    work: Path,
    name: str,
    *,
    until: str | None = None,
    host: HostSettings | None = None,
    progress: Progress = SILENT,
    command: str | None = None,
) -> Run:
    """Makes every stage that is not finished yet and links them into ``work/runs/<name>``.

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
        for stage in select_stages(until):
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


def publish(built: Run) -> None:
    """Copies what a person looks for to the top of the run folder: the report and the bundle."""
    if "export" in built.stages:
        from export.bundle import update_default

        fresh = built.folder / ".bundle.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(built.stages["export"].path / "bundle", fresh)
        if "bench" in built.stages:
            # only which file, not the measured reason: the same build must give the same bytes
            update_default(fresh, built.stages["bench"].facts["ship"]["precision"])
        shutil.rmtree(built.bundle, ignore_errors=True)
        os.replace(fresh, built.bundle)
    if "report" in built.stages:
        for file in ("report.json", "report.md", "report.html"):
            shutil.copyfile(built.stages["report"].path / file, built.folder / file)


def versions() -> dict[str, str]:
    """Versions of what can change a result, without importing any of it."""
    from importlib import metadata

    model = ("torch", "torchvision", "torchao", "open_clip_torch", "timm", "diffusers", "transformers")
    packages = ("clip2edge", *model, "onnx", "onnxruntime", "onnxscript", "numpy", "pillow")
    out = {"python": platform.python_version()}
    for package in packages:
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = "not installed"
    return out


def clean(work: Path, keep: Iterable[Path], *, dry_run: bool = False) -> tuple[int, int]:
    """Removes stage folders that are not in ``keep``, and unfinished ones that nobody is at work on.

    Returns:
        (folders removed, bytes freed).
    """
    kept, removed, freed = {path.resolve() for path in keep}, 0, 0
    for stage_folder in sorted((work / "store").glob("*/*")):
        if not stage_folder.is_dir() or stage_folder.resolve() in kept:
            continue
        with contextlib.ExitStack() as held:
            if stage_folder.suffix == ".part":
                try:
                    held.enter_context(lock(stage_folder.with_suffix(".lock"), f"stage {stage_folder.parent.name}"))
                except StoreError:  # a build is filling it right now
                    continue
            freed += sum(path.stat().st_size for path in stage_folder.rglob("*") if path.is_file())
            removed += 1
            if not dry_run:
                shutil.rmtree(stage_folder)
    return removed, freed


def linked(work: Path) -> list[Path]:
    """The stage folders that runs link to."""
    return [link.resolve() for link in (work / "runs").glob("*/*") if link.is_symlink()]


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(os.path.relpath(target, link.parent))


def _log(folder: Path, event: str, stage: str, key: str, **more: Any) -> None:
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps({"time": _now(), "event": event, "stage": stage, "key": key, **more}) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
