"""What a stage is: the shape that the engine in ``pipeline.py`` runs and every room fills."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.artifacts import PARTIAL, Artifact
from compress.config import HostSettings, Settings
from compress.progress import SILENT, Progress


@dataclass(frozen=True)
class StageContext:
    """What a stage function is given.

    Attributes:
        settings: the whole resolved settings; only the sections named in the stage's row belong to its identity.
        inputs: the finished stages it needs, by name.
        folder: where to write. ``folder / "partial"`` survives a kill and is removed once the stage is finished.
        seed: the run's seed, to be used through ``compress.seeds`` only.
        host: workers, device, memory: how to run, never what comes out.
    """

    settings: Settings
    inputs: Mapping[str, Artifact]
    folder: Path
    seed: int = 0
    host: HostSettings = HostSettings()
    progress: Progress = SILENT

    @property
    def partial(self) -> Path:
        """The folder for shards and checkpoints (made on first use)."""
        path = self.folder / PARTIAL
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Stage:
    """One row of the pipeline.

    Attributes:
        name: the stage's name, also its folder in the store.
        needs: the stages whose content it reads.
        sections: the settings that can change its result: sections ("distill") or single fields ("data.max_pixels").
        run: ``"module:function"``, imported when the stage runs, so that planning loads no torch.
        version: raised when the code changes what comes out.
        external: ``"module:function"`` of ``settings -> {name: fingerprint}`` for inputs that lie outside the store
            (image folders, checkpoints).
        machine_bound: measures this machine; made again on every build that reaches it with other inputs, and never
            shared between hosts.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    run: str
    version: int = 1
    external: str | None = None
    machine_bound: bool = False

    def function(self) -> Callable[[StageContext], dict[str, Any]]:
        """The stage function."""
        return resolve(self.run)

    def external_fingerprint(self, settings: Settings) -> dict[str, str]:
        """The identity of what it reads from outside the store."""
        return dict(resolve(self.external)(settings)) if self.external else {}


def resolve(reference: str) -> Callable[..., Any]:
    """Imports ``"module:function"``."""
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def select(settings: Settings, sections: tuple[str, ...]) -> dict[str, Any]:
    """The canonical values of the named sections and fields."""
    plain = settings.plain()
    out: dict[str, Any] = {}
    for path in sections:
        node: Any = plain
        for part in path.split("."):
            node = node[part]
        out[path] = node
    return out
