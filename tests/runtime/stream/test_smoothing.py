"""Recorded answers, smoothed: no flicker, and the delay that is stated."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import BackendError
from runtime.stream.smoothing import AVERAGE, VOTE, WAYS, Smoothing, weight_of


def shown(smoothing: Smoothing, rows: list[np.ndarray]) -> list[int | None]:
    out = []
    for row in rows:
        smoothing.push(row)
        out.append(smoothing.shown)
    return out


def sure(place: int, classes: int = 3) -> np.ndarray:
    return np.eye(classes)[place]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frames", [1, 2, 5, 8, 31])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.25, 0.5, 0.9])
def test_a_sure_change_shows_after_the_stated_delay(way: str, frames: int, margin: float) -> None:
    smoothing = Smoothing(way, frames, margin)
    before = shown(smoothing, [sure(0)] * (20 * frames))
    after = shown(smoothing, [sure(1)] * (20 * frames))
    assert set(before) == {0} and after[-1] == 1
    assert after.index(1) + 1 == smoothing.delay


@pytest.mark.parametrize("way", WAYS)
def test_one_odd_frame_and_a_tie_do_not_flicker(way: str) -> None:
    odd = [sure(0)] * 8 + [sure(1)] + [sure(0)] * 8
    assert set(shown(Smoothing(way, 8, 0.2), odd)) == {0}
    tie = [np.array([0.52, 0.48, 0]), np.array([0.48, 0.52, 0])] * 20
    assert len(set(shown(Smoothing(AVERAGE, 8, 0.2), tie))) == 1
    assert len(set(shown(Smoothing(AVERAGE, 1, 0.0), tie))) == 2  # without smoothing it does


def test_an_average_is_the_exponential_one() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.dirichlet(np.ones(4)) for _ in range(12)]
    smoothing = Smoothing(AVERAGE, 6)
    joint = [smoothing.push(row) for row in rows][-1]
    weight = weight_of(6)
    weights = np.array([(1 - weight) ** (11 - at) * weight for at in range(12)])
    weights[0] /= weight  # the first frame stands for all before it
    np.testing.assert_allclose(joint, weights @ np.array(rows), atol=1e-12)
    assert joint.sum() == pytest.approx(1)


def test_a_vote_counts_the_last_frames() -> None:
    smoothing = Smoothing(VOTE, 4, 0.0)
    joint = [smoothing.push(sure(place)) for place in (0, 0, 1, 2, 1, 1)][-1]
    np.testing.assert_allclose(joint, [0, 0.75, 0.25])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"way": "mean"}, "average or vote"),
        ({"frames": 0}, "frames to smooth over"),
        ({"frames": 2.5}, "frames to smooth over"),
        ({"margin": 1.0}, "below 1"),
        ({"margin": -0.1}, "margin of a change"),
        ({"margin": float("nan")}, "margin of a change"),
        ({"margin": True}, "margin of a change"),
    ],
)
def test_what_is_refused(how: dict, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        Smoothing(**how)
