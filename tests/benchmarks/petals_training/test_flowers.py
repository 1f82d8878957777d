"""The training flowers on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.petals_training.flowers import draw_flowers, load_flowers, render_split
from compress.petals import world
from compress.petals.world import training_flowers


def test_flowers_on_disk_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    draw_flowers(5, 0, tmp_path, workers=1)
    kept, drawn = load_flowers(tmp_path), training_flowers(0, 5)
    assert np.array_equal(kept.images, drawn.images) and np.array_equal(
        kept.attributes, drawn.attributes
    )


def test_a_split_holds_every_species_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(world.SPLITS, "test", 2)
    images, labels = render_split("test")
    assert images.shape == (64, 32, 32, 3) and np.array_equal(np.bincount(labels), np.full(32, 2))
