"""Datasets with a long tail: fewer and fewer training images, the same tests."""

from __future__ import annotations

import numpy as np

from compress.data.sources import open_source
from compress.engine.config import DataSettings


def test_every_class_has_fewer_images_than_the_one_before() -> None:
    tail = open_source(DataSettings(dataset="petals-lt", shots="all"))
    whole = open_source(DataSettings(dataset="petals", shots="all"))
    counts = np.bincount(tail.train.labels, minlength=32)
    assert counts[0] == 64 and counts[-1] == 4 and (np.diff(counts) <= 0).all()
    assert set(tail.train.keys) < set(whole.train.keys) and tail.names == whole.names
    assert list(tail.test.keys) == list(whole.test.keys)
    assert tail.identity() != whole.identity()
    assert "the first class has 64 training images, the last 4" in tail.notes
    again = open_source(DataSettings(dataset="petals-lt", shots="all"))
    assert again.train.keys == tail.train.keys and again.identity() == tail.identity()
