"""What a head is fitted on, and what fitting gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import TeacherSettings
from compress.engine.progress import SILENT, Progress
from compress.teacher.answers import Answer


@dataclass(frozen=True)
class Shots:
    """What heads are fitted on.

    Attributes:
        features: (n, D) unit rows of views of the shots.
        labels: (n,), their classes.
        images: (n,), the shot that each is a view of.
        texts: (K, D) unit rows, of the class texts.
        anchored: (K,), rows that the probe is pulled back to.
        scale: of cosines.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    images: NDArray[np.int64]
    texts: NDArray[np.float32]
    anchored: NDArray[np.bool_]
    scale: float
    settings: TeacherSettings
    progress: Progress = field(default=SILENT)

    @property
    def per_class(self) -> float:
        """Images of a class, on average."""
        return len(np.unique(self.images)) / len(self.texts)


class Fitted(NamedTuple):
    """A head: its logits, the unit rows (K, D) that stand for it elsewhere, and facts."""

    answer: Answer
    rows: NDArray[np.float32]
    facts: Mapping[str, Any]
