"""The embedded world `petals`: dataset, CLIP teacher, generator and student weights that need no
network.

    attributes, captions, render, world   the world: flowers, words, pictures, the 32 held-out
                                          species
    nets, weights, generator, decoder     the networks, how they are loaded, what draws images and
                                          what inverts them
    train, train_clip, train_generator, train_vq    how the weights were made: python -m
                                                    benchmarks.petals_training.train
    rendering, runs, evaluate             training pictures, the log, the gates

It is for first runs and tests: its accuracies say that the pipeline works, not how well a method
    does on photos.
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
