"""The linear probe: it starts from the text head and does not fall below it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip_space import SCALE, unit, world

from compress.engine.errors import TrainingError
from compress.evaluate.metrics import top1
from compress.teacher.probe import ANCHOR, ANCHOR_SCALES, anchor_weights, fit_probe, probe_loss


def scores(
    text_noise: float, shots: int, spread: float = 1.0, anchor: float = ANCHOR
) -> tuple[float, float]:
    """Held-out accuracy of the text head and of the probe, mean of three draws."""
    out = []
    for seed in range(3):
        features, labels, text, test, answers = world(text_noise, shots, seed, spread)
        probe = fit_probe(features, labels, text, SCALE, steps=200, lr=2e-3, anchor=anchor)
        out.append((top1(test @ text.T, answers), top1(test @ probe.T, answers)))
    zero_shot, fitted = np.mean(out, axis=0)
    return float(zero_shot), float(fitted)


def test_one_shot_is_not_worse_than_a_good_text_head() -> None:
    """One image that scatters widely says less than a good name: the anchor keeps the probe from
    believing it.
    """
    zero_shot, probe = scores(text_noise=0.6, shots=1, spread=2.0)
    _, free = scores(text_noise=0.6, shots=1, spread=2.0, anchor=0.0)
    assert 0.8 < zero_shot < 0.95
    assert probe > zero_shot - 0.01
    assert free < probe


def test_a_poor_text_head_is_left_behind_and_more_shots_help() -> None:
    zero_shot, one = scores(text_noise=2.0, shots=1)
    _, four = scores(text_noise=2.0, shots=4)
    assert zero_shot < 0.9
    assert one > zero_shot + 0.05
    assert four > one


def test_no_steps_and_no_rate_leave_the_text_head() -> None:
    features, labels, text, *_ = world(1.0, 1, 0)
    np.testing.assert_allclose(
        fit_probe(features, labels, text, SCALE, steps=0, lr=1e-3), text, atol=1e-6
    )
    np.testing.assert_allclose(
        fit_probe(features, labels, text, SCALE, steps=3, lr=1e-12), text, atol=1e-6
    )


def test_the_probe_is_deterministic_and_has_unit_rows() -> None:
    features, labels, text, *_ = world(1.0, 2, 0)
    twice = [fit_probe(features, labels, text, SCALE, steps=20, lr=2e-3) for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    np.testing.assert_allclose(np.linalg.norm(twice[0], axis=1), 1, atol=1e-5)


def test_the_rate_turns_rows_by_the_same_angle_at_any_width() -> None:
    angles = []
    for width in (64, 768):
        features, labels, text, *_ = world(1.0, 1, 0, width=width)
        moved = fit_probe(features, labels, text, SCALE, steps=1, lr=2e-3)
        angles.append(float(np.arccos((moved * text).sum(1).clip(-1, 1)).mean()))
    assert angles[0] == pytest.approx(angles[1], rel=0.1)


def test_a_class_is_anchored_as_strongly_as_its_text_explains_it() -> None:
    logits = torch.log(torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.7, 0.2, 0.1]]))
    weights = anchor_weights(logits, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(weights, torch.tensor([0.7, 0.2, 1.0]))


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_the_loss_is_cross_entropy_and_claps_penalty(form: str) -> None:
    """Written out; the paper sums the penalty over classes, its authors' code takes their mean."""
    rng = np.random.default_rng(1)
    features, text = unit(rng.normal(size=(7, 6))), unit(rng.normal(size=(3, 6)))
    rows, labels, pull = rng.normal(size=(3, 6)), np.array([0, 1, 2, 0, 1, 2, 0]), (0.9, 0.4, 0.0)
    head = unit(rows)
    entropy = penalty = 0.0
    for feature, label in zip(features, labels, strict=True):
        logits = [SCALE * float(feature @ row) for row in head]
        entropy += (np.log(np.exp(logits).sum()) - logits[label]) / len(labels)
    for c in range(3):
        squares = sum(float(head[c, d] - text[c, d]) ** 2 for d in range(6))
        penalty += ANCHOR * pull[c] * squares / (3 if form == "mean" else 1)
    loss = probe_loss(
        torch.from_numpy(rows).float(),
        torch.from_numpy(features),
        torch.from_numpy(labels),
        torch.from_numpy(text),
        SCALE,
        ANCHOR_SCALES[form](3) * ANCHOR * torch.tensor(pull),
    )
    assert float(loss) == pytest.approx(entropy + penalty, rel=1e-5)


def test_the_sum_holds_the_probe_closer_to_the_texts() -> None:
    features, labels, text, *_ = world(2.0, 1, 0)
    close = []
    for form in ("mean", "sum"):
        anchor = ANCHOR * ANCHOR_SCALES[form](len(text))
        probe = fit_probe(features, labels, text, SCALE, steps=200, lr=2e-3, anchor=anchor)
        close.append(float((probe * text).sum(1).mean()))
    assert close[0] + 0.005 < close[1] < 1


def test_a_loss_that_is_not_finite_stops() -> None:
    features, labels, text, *_ = world(1.0, 1, 0)
    features[0] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        fit_probe(features, labels, text, SCALE, steps=2, lr=1e-3)
