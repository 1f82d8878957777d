"""A classifier on recorded frames: labels that stay, frames without an answer, times."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
from tiny_bundles import photo, rejecting_bundle

from runtime import Classifier, Prediction, Stream
from runtime.errors import BackendError, ImageError
from runtime.stream import NONE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    scratch = tmp_path_factory.mktemp("bundle")
    return Classifier.load(rejecting_bundle(scratch / "bundle", scratch), "fp32", threads=1)


def frames_of(model: Classifier, label: str | None, number: int) -> list[np.ndarray]:
    """Frames with one answer; None: those that show none of the classes."""
    found = []
    for seed in range(2000):
        (guess,) = model.predict(photo(seed), top_k=1)
        own = guess.label if guess.known else None
        found += [photo(seed)] if own == label else []
        if len(found) == number:
            return found
    raise AssertionError(f"too few frames of {label}")


def test_labels_stay_until_another_leads_and_times_are_the_clocks(model: Classifier) -> None:
    first = next(guess.label for guess in known_guesses(model))
    a, b = frames_of(model, first, 6), frames_of(model, None, 6)
    ticks = count(0, 0.04)
    stream = Stream(model, "vote", 4, 0.2, clock=lambda: next(ticks))
    recorded = [*a, b[0], *a, *b]
    answers = list(stream.watch(recorded))
    assert [answer.frame for answer in answers] == list(range(len(recorded)))
    assert {answer.label for answer in answers[:13]} == {first}  # one odd frame is not shown
    assert answers[13].now.known is False and answers[13].label == first
    assert answers[0].index == model.labels.index(first)
    assert answers[13 + stream.delay - 1].changed and answers[-1].label == NONE
    assert [answer.changed for answer in answers].count(True) == 2  # the first, and the change
    assert stream.changes == 1 and stream.flickers == 3
    assert answers[-1].seconds == pytest.approx(0.04 * (len(recorded) - 1))
    assert stream.frames_per_second == pytest.approx(25)
    assert stream.delay_ms == pytest.approx(40 * stream.delay)


def known_guesses(model: Classifier) -> Iterator[Prediction]:
    guesses = (model.predict(photo(seed), top_k=1)[0] for seed in range(60))
    return (guess for guess in guesses if guess.known)


def test_frames_of_no_class_are_not_sure(model: Classifier) -> None:
    stream = Stream(model, frames=2)
    answer = list(stream.watch(frames_of(model, None, 4)))[-1]
    assert (answer.label, answer.index) == (NONE, -1) and answer.probability == pytest.approx(1)


def test_a_frame_without_an_answer_does_not_end_the_stream(model: Classifier) -> None:
    stream = Stream(model)
    stream.push(photo(0))
    with pytest.raises(ImageError):
        stream.push(b"no image")
    assert stream.push(photo(0)).frame == 1
    assert np.isnan(Stream(model).delay_ms)


def test_settings_are_checked(model: Classifier) -> None:
    with pytest.raises(BackendError, match="average or vote"):
        Stream(model, "median")
