"""Smooths the answers to frames of a video, and says what that costs in frames.

A frame's answer is a row of shares that sum to 1: one for each class, and a last one for "none of
these". Rows are joined by

    average   an exponential average (Brown 1956) whose weights span N frames, a = 2 / (N + 1)
    vote      the shares of the answers among the last N frames

and what is shown changes only when another class leads by more than ``margin`` (hysteresis: Schmitt
1938), so a tie does not flicker. The price is a delay: how many frames a change that every frame is
sure of needs until it is shown, ``Smoothing.delay``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from runtime.backends import whole_number
from runtime.errors import SHOWN, BackendError

AVERAGE = "average"
VOTE = "vote"
FRAMES = 8  # a quarter of a second of a camera
MARGIN = 0.2
MOST_FRAMES = 10_000


class Joint(Protocol):
    """Joins the rows of frames."""

    def __init__(self, frames: int) -> None: ...

    def push(self, row: np.ndarray) -> np.ndarray:
        """The joint shares (K + 1,) after another frame's."""
        ...


class Average:
    """An exponential average of the rows."""

    def __init__(self, frames: int) -> None:
        self._weight = weight_of(frames)
        self._mean: np.ndarray | None = None

    def push(self, row: np.ndarray) -> np.ndarray:
        if self._mean is None:
            self._mean = row
        self._mean = self._mean + self._weight * (row - self._mean)
        return self._mean


class Vote:
    """Each of the last frames has one vote, for its largest share."""

    def __init__(self, frames: int) -> None:
        self._last: deque[int] = deque(maxlen=frames)

    def push(self, row: np.ndarray) -> np.ndarray:
        self._last.append(int(row.argmax()))
        counts = np.bincount(self._last, minlength=len(row))
        return np.asarray(counts / len(self._last), np.float64)


def weight_of(frames: int) -> float:
    """The weight of the newest frame in an average that spans ``frames``."""
    return 2 / (frames + 1)


def _average_delay(frames: int, margin: float) -> int:
    """The least n with 1 - 2 (1 - a)^n > margin: the new class's share less the old one's."""
    kept = 1 - weight_of(frames)
    return 1 if kept == 0 else math.floor(math.log((1 - margin) / 2) / math.log(kept) + 1e-9) + 1


def _vote_delay(frames: int, margin: float) -> int:
    """The least n with (n - (N - n)) / N > margin."""
    return min(math.floor(frames * (1 + margin) / 2 + 1e-9) + 1, frames)


@dataclass(frozen=True)
class Way:
    """A row of ``WAYS``."""

    joint: type[Joint]
    delay: Callable[[int, float], int]


WAYS: Mapping[str, Way] = {AVERAGE: Way(Average, _average_delay), VOTE: Way(Vote, _vote_delay)}


@dataclass
class Smoothing:
    """Joins the shares of frames, and keeps what is shown until another class leads clearly.

    Raises: BackendError: an unknown way, no number of frames, or a margin beyond [0, 1).
    """

    way: str = AVERAGE  # one of WAYS
    frames: int = FRAMES  # that take part
    margin: float = MARGIN  # of shares, by which another class has to lead
    shown: int | None = field(default=None, init=False)  # place in the row

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            got = repr(self.way)[:SHOWN]
            raise BackendError("way of smoothing", got=got, expected=" or ".join(WAYS))
        self.frames = whole_number("frames to smooth over", self.frames, MOST_FRAMES)
        is_number = isinstance(self.margin, (int, float)) and not isinstance(self.margin, bool)
        if not is_number or not 0 <= self.margin < 1:
            got = repr(self.margin)[:SHOWN]
            raise BackendError("margin of a change", got=got, expected="0 or more, below 1")
        self._joint = WAYS[self.way].joint(self.frames)

    @property
    def delay(self) -> int:
        """Frames until a change is shown that every frame is sure of; 1: at once."""
        return WAYS[self.way].delay(self.frames, self.margin)

    def push(self, row: np.ndarray) -> np.ndarray:
        """The joint shares (K + 1,) after another frame's; sets ``shown``."""
        shares = self._joint.push(np.asarray(row, np.float64))
        best = int(shares.argmax())
        if self.shown is None or shares[best] > shares[self.shown] + self.margin:
            self.shown = best
        return shares
