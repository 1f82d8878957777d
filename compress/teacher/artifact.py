"""What the teacher stage leaves, and the only place that knows its file names.

heads.safetensors   zero_shot (K, D) and probe (K, D), unit rows, and logit_scale ()
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

HEADS = "heads.safetensors"


@dataclass(frozen=True)
class Heads:
    """Class heads in the teacher's feature space.

    Attributes:
        zero_shot: float32 (K, D), unit rows from texts.
        probe: float32 (K, D), unit rows fine-tuned on the shots; without any, ``zero_shot``.
        logit_scale: multiplies cosines.
    """

    zero_shot: NDArray[np.float32]
    probe: NDArray[np.float32]
    logit_scale: float


@dataclass(frozen=True)
class TeacherArtifact:
    """The folder of a teacher stage, finished or being written."""

    folder: Path

    def heads(self) -> Heads:
        """The heads of a finished stage."""
        arrays = load_file(self.folder / HEADS)
        return Heads(arrays["zero_shot"], arrays["probe"], float(arrays["logit_scale"]))

    def has_heads(self) -> bool:
        """Whether the stage is finished here."""
        return (self.folder / HEADS).is_file()

    def write_heads(self, heads: Heads) -> None:
        """Writes the heads."""
        arrays = {
            "zero_shot": np.ascontiguousarray(heads.zero_shot, np.float32),
            "probe": np.ascontiguousarray(heads.probe, np.float32),
            "logit_scale": np.asarray(heads.logit_scale, np.float32),
        }
        save_file(arrays, self.folder / HEADS)
