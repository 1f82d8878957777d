"""Logits of heads that are more than cosines: by hand, kept in files, exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_space import unit
from scipy.special import softmax

from compress.teacher.answers import PARTS, Answer, Cache, mean_probabilities
from compress.teacher.artifact import Head, Heads, TeacherArtifact

RNG = np.random.default_rng(0)
FEATURES = unit(RNG.normal(size=(5, 6)))
ROWS = RNG.normal(size=(3, 6)).astype(np.float32)
MATRIX = RNG.normal(size=(6, 6)).astype(np.float32)
CACHE = Cache(unit(RNG.normal(size=(4, 6))), RNG.random((4, 3)).astype(np.float32), 5.5)
ANSWERS = (
    Answer(ROWS),
    Answer(ROWS, MATRIX),
    Answer(ROWS, cache=CACHE),
    Answer(ROWS, MATRIX, CACHE),
)


def by_hand(answer: Answer, feature: np.ndarray) -> list[float]:
    seen = feature if answer.matrix is None else unit(answer.matrix @ feature)
    out = [float(row @ seen) for row in answer.rows]
    for key, votes in [] if answer.cache is None else zip(CACHE.keys, CACHE.values, strict=True):
        near = np.exp(-CACHE.sharpness * (1 - float(key @ feature)))
        out = [z + near * float(vote) for z, vote in zip(out, votes, strict=True)]
    return out


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_logits_are_those_of_the_formula(answer: Answer) -> None:
    expected = [by_hand(answer, feature) for feature in FEATURES]
    np.testing.assert_allclose(answer.logits(FEATURES), expected, rtol=1e-4, atol=1e-5)
    views = FEATURES[None].repeat(2, 0)
    np.testing.assert_allclose(answer.logits(views)[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_heads_with_answers_come_back_from_their_file(several: bool, tmp_path: Path) -> None:
    plain = Head(None, unit(ROWS), 7.0)
    head = replace(plain, answers=ANSWERS)
    members = (head, plain, replace(plain, answers=ANSWERS[2:3])) if several else (head,)
    TeacherArtifact(tmp_path).write_heads(Heads(members))
    found = TeacherArtifact(tmp_path).heads()
    assert [len(one.answers) for one in found.members] == [len(one.answers) for one in members]
    for one, was in zip(found.members, members, strict=True):
        np.testing.assert_array_equal(one.logits(FEATURES), was.logits(FEATURES))
    for answer in found.members[0].answers:
        assert set(answer.arrays()) <= set(PARTS)


def test_of_several_answers_the_probabilities_are_averaged() -> None:
    each = [answer.logits(FEATURES) for answer in ANSWERS]
    head = Head(None, unit(ROWS), 7.0, answers=ANSWERS)
    expected = np.mean([softmax(logits, axis=1) for logits in each], axis=0)
    np.testing.assert_allclose(softmax(head.logits(FEATURES), axis=1), expected, rtol=1e-4)
    assert mean_probabilities(each[:1]) is each[0]


def test_the_exported_network_computes_the_same() -> None:
    torch = pytest.importorskip("torch")
    from export.teacher.network import TeacherClassifier

    plain = Head(unit(ROWS), unit(ROWS), 7.0)
    for answers in (ANSWERS, ANSWERS[1:2], ()):
        heads = Heads((replace(plain, answers=answers),))
        network = TeacherClassifier(torch.nn.Identity(), heads)
        out = network(torch.from_numpy(FEATURES))
        np.testing.assert_allclose(out[0], heads.logits(FEATURES), rtol=1e-4, atol=1e-4)
        assert network.names == ("logits", "zero_shot_logits", "features")
