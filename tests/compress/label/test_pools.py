"""The images that the label stage reads."""

from __future__ import annotations

from compress.label.pools import balanced_views


def test_both_pools_get_about_as_many_views() -> None:
    assert balanced_views(96, 1536, 4) == 64
    assert balanced_views(10, 21, 2) == 5
    assert balanced_views(100, 0, 4) == 4
    assert balanced_views(0, 100, 4) == 4
