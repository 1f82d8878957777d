"""Where the weights of a generator are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GeneratorWeights:
    """Where a generator's weights are.

    Attributes:
        kind: a row of KINDS; None for a hub id whose model_index.json is not read yet.
        parts: folders or hub ids, in the order its loader expects; (): shipped with this package.
        license: of the weights, as far as known.
        pipeline: class in diffusers; filled in from the row of the kind on loading.
    """

    kind: str | None
    parts: tuple[str, ...] = ()
    license: str = "unknown"
    pipeline: str = ""
