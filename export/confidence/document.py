"""What a bundle holds of its confidence: the manifest's part, and the prototypes of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Confidence:
    """The manifest's part "confidence", and what a file of the bundle holds of it."""

    document: Mapping[str, Any] = field(default_factory=dict)
    prototypes: NDArray[np.float32] | None = None  # (K, D) unit rows

    @property
    def temperatures(self) -> Mapping[str, float]:
        """By model key; empty where none was fitted."""
        found: Mapping[str, float] = self.document.get("temperature", {}).get("models", {})
        return found
