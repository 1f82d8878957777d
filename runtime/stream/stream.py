"""A classifier on the frames of a video: steady answers, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from runtime.classifier import Classifier, Prediction
from runtime.preprocess import ImageLike
from runtime.stream.smoothing import AVERAGE, FRAMES, MARGIN, Smoothing

NONE = "not sure"  # what is shown of frames that show none of the classes


@dataclass(frozen=True)
class Steady:
    """The answer after a frame."""

    frame: int  # from 0 on
    label: str  # what is shown; ``NONE`` if the frames show none of the classes
    index: int  # of the label; -1 for none
    probability: float  # its share in the joint answer
    changed: bool  # whether something else was shown before
    now: Prediction  # the answer of this frame alone
    seconds: float  # since the first frame


class Stream:
    """Labels frames one after the other; a label stays until another one leads clearly.

    >>> stream = Stream(Classifier.load("bundle"))  # doctest: +SKIP
    >>> for answer in stream.watch(frames):  # doctest: +SKIP
    ...     if answer.changed:
    ...         print(answer.label)

    One stream belongs to one camera: frames of several go through several streams, which may share
    a classifier.

    Args:
        way: "average" or "vote", see ``runtime.stream.smoothing``.
        frames: that take part in an answer.
        margin: of shares, by which another label has to lead before it is shown.
        clock: seconds; a video file's own time can stand in.

    Raises: BackendError: another way, frames or margin.
    """

    def __init__(
        self,
        classifier: Classifier,
        way: str = AVERAGE,
        frames: int = FRAMES,
        margin: float = MARGIN,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.classifier = classifier
        self.smoothing = Smoothing(way, frames, margin)
        self.count = 0  # of frames so far
        self.flickers = 0  # changes from one frame's own answer to the next one's
        self.changes = 0  # of what is shown
        self._clock = clock
        self._start = self._last = 0.0
        self._before: int | None = None

    def push(self, frame: ImageLike) -> Steady:
        """The answer after another frame, an image as ``Classifier.predict`` takes it.

        Raises: ImageError, BackendError: as ``Classifier.predict``; the stream goes on after it.
        """
        names = self.classifier.labels
        guesses = self.classifier.predict(frame, top_k=len(names))
        row = np.zeros(len(names) + 1)
        if guesses[0].known is False:
            row[-1] = 1.0
        else:
            row[[guess.index for guess in guesses]] = [guess.probability for guess in guesses]
        shown, own = self.smoothing.shown, int(row.argmax())
        shares = self.smoothing.push(row)
        self._last = self._clock()
        if not self.count:
            self._start = self._last
        self.flickers += self._before is not None and own != self._before
        self._before = own
        place = self.smoothing.shown
        assert place is not None  # a row was pushed
        changed = place != shown
        self.changes += changed and shown is not None
        is_none = place == len(names)
        label, index = (NONE, -1) if is_none else (names[place], place)
        share = float(shares[place])
        seconds = self._last - self._start
        self.count += 1
        return Steady(self.count - 1, label, index, share, changed, guesses[0], seconds)

    def watch(self, frames: Iterable[ImageLike]) -> Iterator[Steady]:
        """The answer after each frame; errors as ``push``."""
        return map(self.push, frames)

    @property
    def frames_per_second(self) -> float:
        """Of all frames so far; 0 before the second."""
        passed = self._last - self._start
        return (self.count - 1) / passed if passed > 0 else 0.0

    @property
    def delay(self) -> int:
        """Frames until a change that every frame is sure of is shown; 1: at once."""
        return self.smoothing.delay

    @property
    def delay_ms(self) -> float:
        """``delay`` at the rate of the frames so far; NaN before the second."""
        rate = self.frames_per_second
        return 1e3 * self.delay / rate if rate else float("nan")
