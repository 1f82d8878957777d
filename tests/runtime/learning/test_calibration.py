"""Scales and rows of new classes, against a head whose weights are the centered prototypes."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.learning.calibration import (
    AIM,
    MOST,
    Answers,
    centered,
    margins,
    offset_from,
    prototypes_of,
    scale_from,
    scale_of,
)

RNG = np.random.default_rng(0)
CLASSES, WIDTH, EACH, SCALE = 5, 64, 12, 40.0
LABELS = np.repeat(np.arange(CLASSES), EACH)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SHARED = unit(RNG.normal(size=(1, WIDTH)))
CENTERS = unit(SHARED + 0.6 * unit(RNG.normal(size=(CLASSES, WIDTH))))
FEATURES = unit(CENTERS[LABELS] + 0.5 * unit(RNG.normal(size=(len(LABELS), WIDTH))))


def test_prototypes_are_unit_means_that_float16_holds() -> None:
    rows = prototypes_of(FEATURES, LABELS, CLASSES)
    means = unit(np.stack([FEATURES[k == LABELS].mean(axis=0) for k in range(CLASSES)]))
    np.testing.assert_allclose(rows, means, atol=1e-3)
    assert np.array_equal(rows, rows.astype(np.float16).astype(np.float32))


def test_a_row_is_less_the_mean_of_all_others() -> None:
    rows = centered(CENTERS)
    for k in range(CLASSES):
        others = np.delete(CENTERS, k, axis=0).mean(axis=0)
        np.testing.assert_allclose(rows[k], CENTERS[k] - others, atol=1e-12)
    np.testing.assert_allclose(centered(CENTERS[:1]), CENTERS[:1])


def test_the_scale_of_a_head_is_found() -> None:
    prototypes = prototypes_of(FEATURES, LABELS, CLASSES)
    logits = SCALE * FEATURES @ centered(prototypes).T
    assert scale_from(logits, FEATURES, LABELS, prototypes) == pytest.approx(SCALE)
    lone = scale_from(np.ones((2, 1)), np.zeros((2, WIDTH)), np.zeros(2, int), prototypes[:1])
    assert not np.isfinite(lone)


def test_a_bundle_says_the_scale_or_it_follows_from_the_means_of_scores() -> None:
    measured = {"confidence": {"classes": {"models": {"fp32": {"scale": 12.5}}}}}
    assert scale_of(measured, "fp16", CENTERS) == 12.5
    prototypes = prototypes_of(FEATURES, LABELS, CLASSES)
    logits = SCALE * FEATURES @ centered(prototypes).T
    cosines = FEATURES @ prototypes.T
    scales = {"max_logit": [logits.max(1).mean(), 1], "prototype": [cosines.max(1).mean(), 1]}
    means = {"confidence": {"rejection": {"models": {"fp32": {"scales": scales}}}}}
    assert scale_of(means, "fp32", prototypes) == pytest.approx(SCALE, rel=0.1)
    assert scale_of({}, "fp32", prototypes) is None
    bare = {"confidence": {"rejection": {"models": {"fp32": {"scales": {}}}}}}
    assert scale_of(bare, "fp32", prototypes) is None


def test_photos_are_judged_by_the_others() -> None:
    old = LABELS < 3
    known = prototypes_of(FEATURES[old], LABELS[old], 3)
    logits = (SCALE * FEATURES @ centered(known).T).astype(np.float32)
    new = ~old
    answers = Answers(logits[new], FEATURES[new])
    photos = np.arange(new.sum())
    found = margins(answers, LABELS[new] - 3, photos, known, SCALE)
    assert [len(one) for one in found] == [EACH, EACH]
    assert np.mean(np.concatenate(found) > 0) > 0.9
    others = np.arange(EACH) != 0  # the first photo of class 3, by hand
    rows = prototypes_of(FEATURES[LABELS == 3][others], np.zeros(EACH - 1, int), 1)
    both = np.concatenate([known, rows, prototypes_of(FEATURES, LABELS, CLASSES)[4:]])
    scores = SCALE * FEATURES[LABELS == 3][0] @ centered(both).T
    best = max(logits[LABELS == 3][0].max(), scores[4])
    assert found[0][0] == pytest.approx(scores[3] - best, abs=1e-6)
    drowned = Answers(logits[new] + 1e3, FEATURES[new])
    assert max(margins(drowned, LABELS[new] - 3, photos, known, SCALE)[0]) < -900
    # Two views of a photo leave together: a photo that is alone has nothing to be judged by.
    twice = Answers(logits[new][:2], FEATURES[new][:2])
    (none,) = margins(twice, np.zeros(2, int), np.zeros(2, int), known, SCALE)
    assert len(none) == 0


def test_the_offset_helps_who_wins_narrowly_within_bounds() -> None:
    assert offset_from(np.array([]), SCALE) == 0
    assert offset_from(np.full(4, 10.0), SCALE) == 0
    assert offset_from(np.full(4, -10.0), SCALE) == pytest.approx(SCALE * MOST)
    between = offset_from(np.full(4, (AIM - 0.004) * SCALE), SCALE)
    assert between == pytest.approx(0.004 * SCALE)
    assert offset_from(np.array([3.0, 0.0]), SCALE) > offset_from(np.array([1.5, 1.5]), SCALE)
    assert offset_from(np.array([1.5, 1.5]), SCALE) > 0
