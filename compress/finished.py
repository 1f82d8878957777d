"""A finished run, opened again: its settings and stages as a stage sees them, for commands that look at it later."""

from __future__ import annotations

from pathlib import Path

from compress.artifacts import Artifact, Store
from compress.config import HostSettings, read_layer, resolve
from compress.errors import ConfigError, nearest
from compress.pipeline import NAMES
from compress.progress import SILENT, Progress
from compress.stages import StageContext


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
        "no such run", got=repr(str(run)), expected="a folder of WORK/runs, or its name",
        remedy=nearest(str(run), known) if known else "compress build makes one",
    )  # fmt: skip


def open_run(folder: Path, progress: Progress = SILENT, host: HostSettings | None = None) -> StageContext:
    """The run's settings and every stage it links to; ``folder`` of the context is the run's own.

    Raises:
        ConfigError: a stage that the run links to is gone or damaged.
    """
    settings = resolve(read_layer(folder / "config.yaml"))
    stages: dict[str, Artifact] = {}
    for name in NAMES:
        if (folder / name).is_symlink():
            place = (folder / name).resolve()
            found = Store(place.parents[1]).get(name, place.name)
            if found is None:
                raise ConfigError(
                    f"stage {name} of this run is not there any more", got=place,
                    remedy=f"compress build --config {folder / 'config.yaml'}",
                )  # fmt: skip
            stages[name] = found
    return StageContext(settings, stages, folder, settings.seed, host or HostSettings(), progress)


def require_stages(ctx: StageContext, *names: str) -> None:
    """Raises ConfigError if the run is not finished up to the stages ``names``."""
    missing = [name for name in names if name not in ctx.inputs]
    if missing:
        raise ConfigError(
            "this run is not finished", got=f"no {', '.join(missing)}", expected=", ".join(names),
            remedy=f"compress build --config {ctx.folder / 'config.yaml'}",
        )  # fmt: skip
