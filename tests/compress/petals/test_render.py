"""The renderer: every picture is a function of its own seed, and its petals can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from compress.petals import attributes as at
from compress.petals.flower import flower
from compress.petals.render import CHUNK, Nuisance, render


def _rows(count: int) -> np.ndarray:
    return at.decode(np.arange(count) * 97 % 7680)


def test_a_picture_does_not_depend_on_the_batch_it_is_drawn_in() -> None:
    rows, seeds, styles = (
        _rows(CHUNK + 6),
        [7 * i + 1 for i in range(CHUNK + 6)],
        np.arange(CHUNK + 6) % len(at.STYLES),
    )
    together = render(rows, seeds, styles)
    for i in (0, 5, CHUNK - 1, CHUNK, CHUNK + 5):
        assert np.array_equal(
            render(rows[i : i + 1], seeds[i : i + 1], styles[i : i + 1])[0], together[i]
        )
    backwards = render(rows[::-1], seeds[::-1], styles[::-1])
    assert np.array_equal(backwards[::-1], together)


def test_pictures_are_small_uint8_and_differ_by_seed_and_style() -> None:
    row = _rows(2)[1:]
    pictures = render(
        np.repeat(row, len(at.STYLES) + 1, 0),
        [3] * len(at.STYLES) + [4],
        [*range(len(at.STYLES)), 0],
    )
    assert pictures.shape == (len(at.STYLES) + 1, 32, 32, 3) and pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


@pytest.mark.parametrize("shape", at.SHAPES)
@pytest.mark.parametrize("count", range(len(at.COUNTS)))
def test_the_gaps_on_a_ring_number_the_petals(count: int, shape: str) -> None:
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)[None]
    row = np.array([[count, at.SHAPES.index(shape), 0, 0, 0, 0, 0]])
    _, alpha = flower(0.6 * np.cos(angle), 0.6 * np.sin(angle), row, np.ones((1, 1)))
    inside = alpha[0] > 0.5
    assert (inside & ~np.roll(inside, 1)).sum() == at.COUNTS[count]


def test_each_group_of_nuisances_can_be_switched_off_alone() -> None:
    row, groups = (
        _rows(9)[8:],
        [Nuisance(), Nuisance(pose=0), Nuisance(clutter=0), Nuisance(light=0)],
    )
    assert len({render(row, [2], nuisance=group).tobytes() for group in groups}) == len(groups)
    calm = render(np.repeat(row, 2, 0), [2, 3], nuisance=Nuisance(0, 0, 0)).astype(float)
    assert (
        calm[:, 15:17, 15:17].mean((1, 2)).std(0).max() < 1
    )  # both flowers show the same center in the same place


def test_code_and_decode_are_inverse_and_bans_are_kept() -> None:
    codes = np.arange(0, 7680, 11)
    assert np.array_equal(at.code(at.decode(codes)), codes)
    assert (
        5 not in at.allowed_codes(frozenset({5})) and len(at.allowed_codes(frozenset({5}))) == 7679
    )
