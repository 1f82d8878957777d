"""Logits from the prototypes that the images were made toward (CVLM, image-based customization).

A prototype is the mean unit feature of a class's shots, at unit length. The images were optimized
toward it, so the student learns its answers, ``scale * cos(feature, prototype)``, and not those of
a probe or of texts, which may draw other borders (Wei et al., OpenReview 1aF2D2CPHi).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.teacher.artifact import Heads, unit

KIND = "prototypes"  # of generate.prompts.kind


def made_toward_prototypes(facts: Mapping[str, Any]) -> bool:
    """Whether the generate stage of these facts optimized its images toward prototypes."""
    return facts.get("prompts") == KIND


def prototype_heads(
    heads: Heads, features: NDArray[np.float32], labels: NDArray[np.int64]
) -> Heads:
    """The heads with prototypes in place of probes, each in the space of its own teacher.

    Args:
        features: of the shots, as the teachers give them, ``(n, D)``; side by side for several.
        labels: ``(n,)``; every class has a shot.
    """
    parts = np.split(features, np.cumsum(heads.widths)[:-1], axis=-1)
    members = []
    for head, part in zip(heads.members, parts, strict=True):
        rows = head.centered(unit(part))
        means = np.stack([rows[labels == label].mean(0) for label in range(heads.classes)])
        members.append(replace(head, probe=unit(means), answers=()))
    return Heads(tuple(members))
