"""Runs in a work folder: found by name, opened again as a stage sees them, and cleaned up after."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from compress.engine.config import HostSettings, read_layer, resolve
from compress.engine.errors import ConfigError, StoreError, nearest
from compress.engine.progress import SILENT, Progress
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, Store, lock


def find_run(run: str | Path, work: Path) -> Path:
    """The folder of a run, named by its path or by its name in a work folder.

    Raises:
        ConfigError: neither, with the nearest name.
    """
    for folder in (Path(run), work / "runs" / str(run)):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    known = sorted(path.parent.name for path in (work / "runs").glob("*/config.yaml"))
    raise ConfigError(
        "no such run",
        got=repr(str(run)),
        expected="a folder of WORK/runs, or its name",
        remedy=nearest(str(run), known) if known else "compress build makes one",
    )


def open_run(
    folder: Path, progress: Progress = SILENT, host: HostSettings | None = None
) -> StageContext:
    """The run's settings and every stage it links to; ``folder`` of the context is the run's own.

    Raises:
        ConfigError: a stage that the run links to is gone or damaged.
    """
    settings = resolve(read_layer(folder / "config.yaml"))
    stages: dict[str, Artifact] = {}
    for link in sorted(entry for entry in folder.iterdir() if entry.is_symlink()):
        place = link.resolve()
        found = Store(place.parents[1]).get(link.name, place.name)
        if found is None:
            raise ConfigError(
                f"stage {link.name} of this run is not there any more",
                got=place,
                remedy=f"compress build --config {folder / 'config.yaml'}",
            )
        stages[link.name] = found
    return StageContext(settings, stages, folder, settings.seed, host or HostSettings(), progress)


def require_stages(ctx: StageContext, *names: str) -> None:
    """Raises ConfigError if the run is not finished up to the stages ``names``."""
    missing = [name for name in names if name not in ctx.inputs]
    if missing:
        raise ConfigError(
            "this run is not finished",
            got=f"no {', '.join(missing)}",
            expected=", ".join(names),
            remedy=f"compress build --config {ctx.folder / 'config.yaml'}",
        )


def clean(work: Path, keep: Iterable[Path], *, dry_run: bool = False) -> tuple[int, int]:
    """Removes stage folders that are not in ``keep``, and unfinished ones that nobody is at work
    on.

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
                    held.enter_context(
                        lock(stage_folder.with_suffix(".lock"), f"stage {stage_folder.parent.name}")
                    )
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
