"""The heads of a teacher: each by a formula of its own, and what shots gain it."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clip_space import SCALE, unit, world

from compress.engine.config import TeacherSettings
from compress.engine.stage import resolve
from compress.evaluate.metrics import top1
from compress.teacher.heads.head import Shots
from compress.teacher.heads.lp_plus_plus import class_sums, lp_plus_plus, rates
from compress.teacher.heads.prolip import prolip, prolip_loss
from compress.teacher.heads.table import HEADS
from compress.teacher.heads.tip_adapter import SHARPNESS, tip_adapter

VIEWS = 8  # of a shot in `world`


def shots_of(number: int = 4, seed: int = 0, noise: float = 1.5, steps: int = 200, **more: object):
    features, labels, texts, tests, answers = world(noise, number, seed)
    images = np.repeat(np.arange(len(labels) // VIEWS), VIEWS)
    settings = TeacherSettings(probe_steps=steps, **more)  # type: ignore[arg-type]
    anchored = np.ones(len(texts), bool)
    return Shots(features, labels, images, texts, anchored, SCALE, settings), tests, answers


def test_every_name_that_the_setting_takes_has_a_head() -> None:
    (kind, _) = typing.get_args(TeacherSettings.model_fields["heads"].annotation)
    assert set(typing.get_args(kind)) == set(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_with_poor_texts_every_head_gains_from_four_shots(name: str) -> None:
    gains = []
    for seed in range(2):
        shots, tests, answers = shots_of(seed=seed, noise=2.0)
        fitted = resolve(HEADS[name])(shots)
        assert fitted.rows.shape == shots.texts.shape
        np.testing.assert_allclose(np.linalg.norm(fitted.rows, axis=1), 1, atol=1e-5)
        zero_shot = top1(tests @ shots.texts.T, answers)
        gains.append(top1(fitted.answer.logits(tests), answers) - zero_shot)
    # the cache of few shots decides among what the texts leave close
    assert np.mean(gains) >= (0 if name == "tip-adapter" else 0.02), gains


def test_tip_adapter_is_texts_and_votes_of_similar_shots() -> None:
    shots, tests, _ = shots_of(2)
    answer = tip_adapter(shots).answer
    keys = unit(shots.features.reshape(-1, VIEWS, shots.features.shape[1]).mean(1))
    votes = np.exp(-SHARPNESS * (1 - tests @ keys.T)) @ np.eye(20)[shots.labels[::VIEWS]]
    expected = SCALE * tests @ shots.texts.T + votes
    np.testing.assert_allclose(answer.logits(tests), expected, rtol=1e-3, atol=1e-3)


def test_lp_plus_plus_starts_as_texts_and_the_sums_of_shots_with_its_rates() -> None:
    shots, tests, _ = shots_of(3, steps=1)
    features, texts = torch.from_numpy(shots.features), torch.from_numpy(shots.texts)
    labels = torch.from_numpy(shots.labels)
    sums = class_sums(features, labels, shots.images, 20)
    by_hand = shots.features.reshape(20, 3, VIEWS, -1).mean(2).sum(1)
    np.testing.assert_allclose(sums, by_hand, atol=1e-5)
    rate, blend_rate = rates(features, texts)
    singular = float(torch.linalg.matrix_norm(features, 2))
    assert rate == pytest.approx(4 * len(features) / singular**2, rel=1e-3)
    products = (shots.features @ shots.texts.T) ** 2
    assert blend_rate == pytest.approx(len(features) / 4 / products.sum(0).max(), rel=1e-3)
    rows = (sums + SCALE * texts).requires_grad_()
    F.cross_entropy(features @ rows.T, labels).backward()
    assert rows.grad is not None
    expected = tests @ (rows - rate * rows.grad).detach().numpy().T
    found = lp_plus_plus(shots).answer.logits(tests)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_lp_plus_plus_moves_its_blend_every_tenth_step() -> None:
    still, moved = (lp_plus_plus(shots_of(2, steps=n)[0]).facts["blend"] for n in (9, 10))
    assert still == pytest.approx(SCALE) != pytest.approx(moved, abs=1e-6)


def test_prolip_is_cross_entropy_through_a_matrix_that_identity_pulls() -> None:
    shots, tests, _ = shots_of(2)
    matrix = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    arrays = (matrix, shots.features, shots.labels, shots.texts)
    loss = prolip_loss(*(torch.from_numpy(one) for one in arrays), SCALE, 0.5)
    logits = SCALE * unit(shots.features @ matrix.T) @ shots.texts.T
    entropy = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    entropy -= logits[np.arange(len(logits)), shots.labels]
    penalty = 0.5 * np.square(matrix - np.eye(64)).sum()
    assert float(loss) == pytest.approx(entropy.mean() + penalty, rel=1e-4)
    fitted = prolip(shots)
    assert fitted.answer.matrix is not None and 0 < fitted.facts["moved"] < 8
    np.testing.assert_allclose(fitted.answer.rows, SCALE * shots.texts, rtol=1e-5)
    few, many = (prolip(shots_of(number)[0]).facts["moved"] for number in (1, 8))
    assert few < many, "N shots pull 1 / N as hard"
