"""Runs of the generate stage with generator "echo", which records what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tiny_sources import Echo, write_data

from compress.engine.config import DataSettings, GenerateSettings, ImageSettings, Settings
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.generate.generators.generator import IMAGE, TEXT, GeneratorWeights, Input
from compress.generate.generators.table import GeneratorKind


class Interrupted(Exception):
    """A killed process, as far as a test can have one."""


class Fragile(Echo):
    """Dies after a number of decoded batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def decode(self, *arguments: Any, **options: Any) -> np.ndarray:
        if not self.left:
            raise Interrupted
        self.left -= 1
        return super().decode(*arguments, **options)


@dataclass
class Loader:
    """Loads echoes.

    Attributes:
        loaded: every instance so far.
        queue: instances to load next.
    """

    loaded: list[Echo] = field(default_factory=list)
    queue: list[Echo] = field(default_factory=list)

    def load(
        self, settings: GenerateSettings, device: str, offline: bool, weights: GeneratorWeights
    ) -> Echo:
        self.loaded.append(self.queue.pop() if self.queue else Echo())
        return self.loaded[-1]


LOADER = Loader()


def echo_kind(takes: frozenset[Input] = TEXT | IMAGE, *, noises: bool = False) -> GeneratorKind:
    """A kind of generator that is loaded by ``LOADER``."""
    return GeneratorKind(f"{__name__}:LOADER", takes, noises=noises)


def context(
    tmp_path: Path, name: str, *, shots: int = 2, seed: int = 0, **generate: object
) -> StageContext:
    """A run of seven images per class in batches of four, unless ``generate`` says otherwise."""
    values = {"generator": "echo", "batch": 4, "per_class": 7, **generate}
    settings = Settings(
        data=DataSettings(shots=shots),
        image=ImageSettings(size=16),
        generate=GenerateSettings(**values),
        seed=seed,
    )
    folder = tmp_path / f"data{shots}"
    data = Artifact("data", folder, {}, "c") if folder.exists() else write_data(folder, shots)
    (tmp_path / name).mkdir(exist_ok=True)
    return StageContext(settings, {"data": data}, tmp_path / name, seed)
