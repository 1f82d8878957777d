"""The score of rejection, and its threshold."""

from __future__ import annotations

import numpy as np
import pytest

from export.confidence.choose import (
    LEFT_OUT,
    Judged,
    choose,
    judge,
    judge_left_one_out,
    left_one_out,
    threshold,
    used_scales,
    without_own_class,
)
from runtime.learning.calibration import Answers, prototypes_of
from runtime.rejection import SCORES, Rejection, scores

K, D, N = 4, 16, 200
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % K


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


PROTOTYPES = unit(RNG.normal(size=(K, D)))
OURS = Answers(
    (6 * np.eye(K)[LABELS] + RNG.normal(size=(N, K))).astype(np.float32),
    unit(PROTOTYPES[LABELS] + 0.2 * RNG.normal(size=(N, D))),
)


def others(logits: float, cosine: float, count: int = 100) -> Answers:
    """Images whose largest logit and whose likeness to a class are about these."""
    rows = np.arange(count) % K
    away = unit(RNG.normal(size=(count, D)))
    return Answers(
        (logits * np.eye(K)[rows] + RNG.normal(size=(count, K))).astype(np.float32),
        unit(cosine * PROTOTYPES[rows] + (1 - cosine) * away),
    )


def test_the_score_that_tells_the_others_wins() -> None:
    loud = judge(OURS, LABELS, {"loud": others(9, 0.0)}, PROTOTYPES)
    assert choose({"fp32": loud}) == "prototype"
    assert loud.auroc["prototype"]["loud"] > 0.99 > 0.2 > loud.auroc["max_logit"]["loud"]
    quiet = judge(OURS, LABELS, {"quiet": others(0, 0.95)}, PROTOTYPES)
    assert choose({"fp32": quiet}) in ("max_logit", "energy")
    both = {"loud": others(5, 0.3), "quiet": others(2, 0.7)}
    assert choose({"fp32": judge(OURS, LABELS, both, PROTOTYPES)}) == "combined"


def test_a_tie_goes_to_the_simpler_score() -> None:
    table = {name: {"kind": 0.9 + 0.0005 * place} for place, name in enumerate(SCORES)}
    assert choose({"fp32": Judged(table, {}, {})}) == "max_logit"


def test_without_prototypes_logits_decide() -> None:
    judged = judge(OURS, LABELS, {"quiet": others(0, 0)}, None)
    assert set(judged.auroc) == {"max_logit", "energy"} and set(judged.scales) <= {*judged.auroc}


def test_a_class_that_is_left_out_is_scored_by_the_others() -> None:
    left = without_own_class("max_logit", OURS, LABELS, PROTOTYPES, {})
    rest = np.array([np.delete(row, k).max() for row, k in zip(OURS.logits, LABELS, strict=True)])
    np.testing.assert_allclose(left, rest)
    assert LEFT_OUT in judge(OURS, LABELS, {"a": others(0, 0)}, PROTOTYPES).auroc["energy"]
    two = Answers(OURS.logits[:, :2], OURS.features)
    few = judge(two, LABELS % 2, {"a": Answers(np.zeros((3, 2), "f4"), OURS.features[:3])}, None)
    assert LEFT_OUT not in few.auroc["energy"]


@pytest.mark.parametrize("keep", [0.9, 0.95, 1.0])
@pytest.mark.parametrize("score", SCORES)
def test_the_threshold_keeps_the_share_in_the_runtime(score: str, keep: float) -> None:
    judged = judge(OURS, LABELS, {"a": others(0, 0)}, PROTOTYPES)
    line = threshold(judged, score, keep)
    rejection = Rejection(score, line - 1e-5, keep, used_scales(judged, score), PROTOTYPES)
    kept = rejection.known(OURS.logits, OURS.features).mean()
    assert keep <= kept <= keep + 0.01
    expected = scores(score, OURS.logits, OURS.features, PROTOTYPES, judged.scales)
    np.testing.assert_allclose(judged.wanted[score], expected)


def test_prototypes_are_unit_means_of_the_classes() -> None:
    """In the steps of float16, in which a bundle holds them."""
    rows = prototypes_of(OURS.features, LABELS, K + 1)
    for label in range(K):
        mean = OURS.features[label == LABELS].mean(0)
        np.testing.assert_allclose(rows[label], mean / np.linalg.norm(mean), atol=5e-4)
    assert not rows[K].any()


def test_a_training_image_is_judged_by_the_others() -> None:
    features, images = OURS.features[:40], np.repeat(np.arange(20), 2)
    labels = images % K
    got = left_one_out(features, labels, images, K)
    for row in (0, 7, 39):
        rest = images != images[row]
        rows = prototypes_of(features[rest], labels[rest], K)
        assert got[row] == pytest.approx((features[row] @ rows.T).max(), abs=5e-4)
    whole = scores("prototype", features[:, :K], features, prototypes_of(features, labels, K))
    assert got.mean() < whole.mean(), "by its own prototype an image looks more known than it is"
    judged = judge_left_one_out(features, labels, images, {"loud": others(9, 0.0)}, PROTOTYPES)
    assert choose({"int8": judged}) == "prototype" and set(judged.auroc) == {"prototype"}
    assert set(judged.auroc["prototype"]) == {"loud", LEFT_OUT}
    assert threshold(judged, "prototype", 1.0) == pytest.approx(got.min(), rel=1e-5)
