"""What the label stage leaves, and the only place that knows its file names.

targets.safetensors   per labeled pool, ``real`` and ``synthetic``:
                      <pool>_features (n, V, D) float16, <pool>_logits (n, V, K) float32;
                      keep (N,) bool, False for synthetic images that the agreement filter left out;
                      weight (N,) float32 of synthetic images with label.weight=teacher
views.json            the recipe of the views, and per pool its images and views
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from compress.engine.store import write_json

PoolKind = Literal["real", "synthetic"]
TARGETS = "targets.safetensors"
VIEWS = "views.json"
SEED = 'derive(run seed, "view", pool, image, view)'


@dataclass(frozen=True)
class PoolTargets:
    """The teacher's answers to every view of a pool: unit features (n, V, D), logits (n, V, K)."""

    features: NDArray[np.float16]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class LabelArtifact:
    """The folder of a label stage, finished or being written."""

    folder: Path

    @property
    def is_written(self) -> bool:
        """Whether the targets are there."""
        return (self.folder / TARGETS).is_file()

    @cached_property
    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        return load_file(self.folder / TARGETS)

    def targets(self, kind: PoolKind) -> PoolTargets | None:
        """The teacher's answers to a pool; None for one without labels."""
        if f"{kind}_logits" not in self._arrays:
            return None
        return PoolTargets(self._arrays[f"{kind}_features"], self._arrays[f"{kind}_logits"])

    @property
    def keep(self) -> NDArray[np.bool_]:
        """(N,): False for synthetic images that the agreement filter left out."""
        return self._arrays["keep"].astype(bool)

    @property
    def weight(self) -> NDArray[np.float32] | None:
        """(N,): how often a synthetic image is drawn, 1 on average; None: all alike."""
        return self._arrays.get("weight")

    def views(self, kind: PoolKind) -> int:
        """Views per image of a pool."""
        return int(
            json.loads((self.folder / VIEWS).read_text(encoding="utf-8"))["pools"][kind]["views"]
        )

    def write(
        self,
        targets: Mapping[PoolKind, PoolTargets],
        keep: NDArray[np.bool_],
        recipe: Mapping[str, Any],
        pools: Mapping[PoolKind, Mapping[str, Any]],
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Writes targets and views; ``pools`` holds ``images``, ``views`` and ``asked`` of each."""
        arrays: dict[str, NDArray[Any]] = {"keep": keep}
        if weight is not None:
            arrays["weight"] = weight
        for kind, answers in targets.items():
            arrays |= {f"{kind}_features": answers.features, f"{kind}_logits": answers.logits}
        save_file(arrays, self.folder / TARGETS)
        write_json(self.folder / VIEWS, {"recipe": recipe, "pools": pools, "seed": SEED})
