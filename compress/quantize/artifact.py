"""Files of the quantize stage.

prepared.safetensors   the trained graph with the ranges of its fake quantizers: the int8 scales
fitted.safetensors     the weights before they were rounded layer by layer; else not there
quantize.json          the stage's facts and the views it was calibrated on
history.json           one row per logged step; empty without training
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.engine.store import write_json

if TYPE_CHECKING:  # a report reads histories, and needs no torch for them
    from torch import Tensor

STATE = "prepared.safetensors"
FITTED = "fitted.safetensors"
FACTS = "quantize.json"
HISTORY = "history.json"
Views = Sequence[Sequence[int | str]]  # [pool, image, view] each


@dataclass(frozen=True)
class QuantizeArtifact:
    """The folder of a quantize stage, finished or being written."""

    folder: Path

    @property
    def _facts(self) -> Any:
        return json.loads((self.folder / FACTS).read_text(encoding="utf-8"))

    @property
    def input_size(self) -> int:
        """Edge of the images that the graph was captured for, in pixels."""
        return int(self._facts["input_size"])

    @property
    def float_blocks(self) -> tuple[str, ...]:
        """Blocks of the network that stay float."""
        return tuple(self._facts.get("float_blocks", ()))

    @property
    def calibration(self) -> Views:
        """The views that ranges were calibrated on."""
        views: Views = self._facts["calibration"]
        return views

    def state(self) -> dict[str, Tensor]:
        """The prepared graph's weights and ranges."""
        from safetensors.torch import load_file

        return load_file(self.folder / STATE)

    def fitted(self) -> dict[str, Tensor]:
        """Weights and biases before they were rounded layer by layer, by name in the graph."""
        from safetensors.torch import load_file

        path = self.folder / FITTED
        return load_file(path) if path.exists() else {}

    def history(self) -> list[dict[str, float]]:
        """One row per logged step."""
        rows: list[dict[str, float]] = json.loads(
            (self.folder / HISTORY).read_text(encoding="utf-8")
        )
        return rows

    def write(
        self,
        state: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        calibration: Views,
        history: Sequence[Mapping[str, float]],
        fitted: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Writes all files of the stage."""
        from safetensors.torch import save_file

        for name, content in ((STATE, state), (FITTED, fitted or {})):
            tensors = {key: value.detach().clone().contiguous() for key, value in content.items()}
            if tensors:
                save_file(tensors, self.folder / name)
        write_json(self.folder / FACTS, {**facts, "calibration": calibration})
        write_json(self.folder / HISTORY, list(history))
