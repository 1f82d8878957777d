"""The embedded world `petals`: dataset, CLIP teacher, generator and students without a network.

    attributes, flower, render, world   flowers, their words and pictures, the 32 held-out species
    nets, weights, pruned, generator    the networks, their loaders, and what draws images

It is for first runs and tests: its accuracies show that the pipeline works, not how well a method
does on photos. ``benchmarks/petals_training`` trains the networks.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"


@cache
def fingerprint() -> str:
    """Hex digest over the shipped networks (every file but the log and the metrics)."""
    digest = hashlib.sha256()
    for path in sorted(_WEIGHTS.rglob("*")):
        if path.is_file() and path.name not in ("train_log.jsonl", "metrics.json"):
            digest.update(path.relative_to(_WEIGHTS).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
