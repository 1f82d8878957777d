"""What a stage is: one row of the table in ``compress/stages.py`` and the context its function is
given.

The *identity* of a stage is everything that can change what it makes; its *key* is the SHA-256 of
that. Identities hold the content of the inputs, so the key of a stage behind an unfinished one is
not known yet.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.engine.config import HostSettings, Settings
from compress.engine.progress import SILENT, Progress
from compress.engine.store import PARTIAL, Artifact, canonical, sha256_text


@dataclass(frozen=True)
class StageContext:
    """What a stage function is given.

    Attributes:
        settings: the whole resolved settings; only the sections named in the stage's row belong to
            its identity.
        inputs: the finished stages it needs, by name.
        folder: where to write. ``folder / "partial"`` survives a kill and is removed once the stage
            is finished.
        seed: the run's seed, to be used through ``compress.engine.seeds`` only.
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
        sections: the settings that can change its result: sections ("distill") or single fields
            ("data.max_pixels").
        run: ``"module:function"``, imported when the stage runs, so that planning loads no torch.
        version: raised when the code changes what comes out.
        external: ``"module:function"`` of ``settings -> {name: fingerprint}`` for inputs that lie
            outside the store (image folders, checkpoints).
        missing: ``"module:function"`` of ``settings, online -> text or None``: what has to be
            placed by hand before the stage can run. It raises ConfigError for settings that the
            stage would refuse.
        machine_bound: measures this machine; made again on every build that reaches it with other
            inputs, and never shared between hosts.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    run: str
    version: int = 1
    external: str | None = None
    missing: str | None = None
    machine_bound: bool = False

    def function(self) -> Callable[[StageContext], dict[str, Any]]:
        """The stage function."""
        return resolve(self.run)

    def external_fingerprint(self, settings: Settings) -> dict[str, str]:
        """The identity of what it reads from outside the store."""
        return dict(resolve(self.external)(settings)) if self.external else {}

    def lacks(self, settings: Settings, online: bool) -> str | None:
        """What has to be placed by hand before this stage can run, or None."""
        return resolve(self.missing)(settings, online) if self.missing else None


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
        out["machine"] = sha256_text(
            canonical([platform.node(), platform.machine(), os.cpu_count()])
        )[:16]
    return out


def key_of(identity_: dict[str, Any]) -> str:
    """The store key of an identity: the first 32 hex digits of its SHA-256."""
    return sha256_text(canonical(identity_))[:32]
