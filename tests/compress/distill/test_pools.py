"""Pools: how often an image is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress.distill.pools import ViewPool


class TwoViews:
    """Stands for renderings, which no draw looks at."""

    views = 2


def pool(weight: list[float] | None, keep: list[bool] | None = None) -> ViewPool:
    images = 4
    kept = np.ones(images, bool) if keep is None else np.array(keep)
    nobody: Any = TwoViews()
    weights = None if weight is None else np.array(weight, np.float32)
    labels, styles = np.zeros(images, np.int64), np.arange(images)
    return ViewPool("synthetic", labels, {}, kept, styles, 7, nobody, weights)


def test_a_pass_holds_a_view_as_often_as_its_images_weight_says() -> None:
    weighted = pool([2.0, 1.0, 0.5, 0.5])
    for number in range(3):
        drawn = weighted.draw("distill", 8 * number, 8)
        counts = np.bincount(drawn, minlength=8)
        assert counts[:4].tolist() == [2, 2, 1, 1]
        assert counts[4:6].sum() == counts[6:].sum() == 1
    passes = np.stack([weighted.draw("distill", 8 * n, 8) for n in range(400)])
    share = np.bincount(passes.ravel(), minlength=8) / 400
    np.testing.assert_allclose(share, [2, 2, 1, 1, 0.5, 0.5, 0.5, 0.5], atol=0.1)
    again = pool([2.0, 1.0, 0.5, 0.5])
    np.testing.assert_array_equal(again.draw("distill", 13, 9), weighted.draw("distill", 13, 9))


def test_equal_weights_draw_every_member_once_and_dropped_images_never() -> None:
    for weight in (None, [1.0] * 4, [3.0] * 4):
        one = pool(weight, keep=[True, False, True, True])
        assert sorted(one.draw("distill", 0, 6)) == [0, 1, 4, 5, 6, 7]
    heavy = pool([1.0, 50.0, 1.0, 1.0], keep=[True, False, True, True])
    assert sorted(heavy.draw("distill", 0, 6)) == [0, 1, 4, 5, 6, 7]


def test_images_of_a_style_are_drawn_by_weight() -> None:
    rng = np.random.default_rng(0)
    drawn = pool([3.0, 1.0, 9.0, 9.0]).draw_styles(np.array([0, 1]), 4000, rng)
    share = np.bincount(drawn, minlength=8)[:4] / 4000
    np.testing.assert_allclose(share, [0.375, 0.375, 0.125, 0.125], atol=0.03)
