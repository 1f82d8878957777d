"""What a stage is: a row of the table in ``compress/stages.py``, and the context it runs in.

The *identity* of a stage is everything that can change its result; its *key* is the SHA-256 of
that. Identities hold the content of the inputs, so behind an unfinished stage no key is known.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from compress.engine.config import HostSettings, Settings
from compress.engine.progress import SILENT, Progress
from compress.engine.store import PARTIAL, Artifact, Identity, Store, canonical, sha256_text


@dataclass(frozen=True)
class StageContext:
    """What a stage function gets."""

    settings: Settings  # of the whole run; only the sections in the stage's row are its identity
    inputs: Mapping[str, Artifact]  # the finished stages it needs
    folder: Path  # where to write
    seed: int = 0  # of the run, for ``compress.engine.seeds`` only
    host: HostSettings = HostSettings()
    progress: Progress = SILENT
    external: Mapping[str, str] = field(default_factory=dict)  # fingerprints in the stage's key
    weights: Path | None = None  # where converted weights are kept; None: nowhere
    views: Path | None = None  # where rendered views are kept; None: nowhere
    url: str | None = None  # of the object storage that the store is a mirror of

    @property
    def silent(self) -> StageContext:
        """The same without progress, for another process."""
        return replace(self, progress=SILENT)

    @property
    def partial(self) -> Path:
        """The folder for shards and checkpoints: survives a kill, removed when sealed."""
        path = self.folder / PARTIAL
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Stage:
    """One row of the pipeline.

    Functions are written ``"module:function"`` and imported late, so that planning loads no torch.

    Attributes:
        needs: the stages whose content it reads.
        sections: the settings that can change its result: sections ("distill") or single fields
            ("data.max_pixels").
        run: the stage function, ``StageContext -> facts``.
        external: ``settings -> {name: fingerprint}`` of inputs outside the store, e.g. image
            folders and checkpoints.
        missing: ``(settings, online) -> text or None``, what the user has to place by hand before
            the stage can run. Raises ConfigError for settings that the stage refuses.
        checks: ``Before -> checks``, see ``compress/engine/preflight.py``; each raises what the
            stage would refuse later.
        spans: ``StageContext -> SpanWork``: its long part, which several processes and machines
            can share, see ``compress/engine/executors/``.
        trains: whether the ranks of torchrun share its training loop, see
            ``compress/engine/ranks.py``.
        version: raised when the code changes the result.
        machine_bound: measures this machine, so that hosts never share it.
    """

    name: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    run: str
    external: str | None = None
    missing: str | None = None
    checks: str | None = None
    spans: str | None = None
    trains: bool = False
    version: int = 1
    machine_bound: bool = False


def resolve(reference: str) -> Callable[..., Any]:
    """Imports ``"module:function"``."""
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def identity(stage: Stage, settings: Settings, inputs: Mapping[str, Artifact]) -> Identity:
    """Everything that can change the result of a stage."""
    plain = settings.plain()
    whole = {
        "stage": stage.name,
        "version": stage.version,
        "settings": {path: reduce(getitem, path.split("."), plain) for path in stage.sections},
        "inputs": {name: inputs[name].content for name in stage.needs},
        "external": dict(resolve(stage.external)(settings)) if stage.external else {},
    }
    if stage.machine_bound:
        machine = [platform.node(), platform.machine(), os.cpu_count()]
        whole["machine"] = sha256_text(canonical(machine))[:16]
    return whole


def key_of(made_from: Identity) -> str:
    """The store key of an identity: the first 32 hex digits of its SHA-256."""
    return sha256_text(canonical(made_from))[:32]


def context(
    store: Store,
    settings: Settings,
    inputs: Mapping[str, Artifact],
    folder: Path,
    made_from: Identity,
    host: HostSettings | None,
    progress: Progress,
) -> StageContext:
    """What a stage of a store gets."""
    return StageContext(
        settings,
        inputs,
        folder,
        settings.seed,
        host or HostSettings(),
        progress,
        made_from["external"],
        store.weights,
        store.views,
        store.remote.url if store.remote else None,
    )
