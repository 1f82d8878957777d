"""Two heads in training, one in what ships: exactly their mixed logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from distill_targets import CLASSES, inputs, new_student
from tiny_models import perturbed

from compress.distill.artifact import DistillArtifact
from compress.distill.students import Student
from compress.distill.two_heads import LabelHeadTerm, best_share, merge


def pair(head: str) -> tuple[Student, LabelHeadTerm]:
    student = new_student(head=head).eval()
    own = {"classifier": student.head, "classifier_scale": student.logit_scale}
    term = LabelHeadTerm(replace(inputs(objective="dho"), **own))  # type: ignore[arg-type]
    perturbed(term)
    term.start_as(student)
    return student, term


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_the_merged_head_gives_the_mixed_logits_and_the_geometric_mean(
    head: str, tmp_path: Path
) -> None:
    student, term = pair(head)
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        out = student.outputs(x)
        assert out.below is not None
        torch.testing.assert_close(term.logits(out.below), out.logits)
        perturbed(term)
        labels = term.logits(out.below)
        params = student.params
        merge(student, term, 0.3)
        found = student(x)
        torch.testing.assert_close(found, 0.7 * out.logits + 0.3 * labels, atol=1e-4, rtol=1e-4)
        product = out.logits.softmax(-1) ** 0.7 * labels.softmax(-1) ** 0.3
        mean = product / product.sum(-1, keepdim=True)
        torch.testing.assert_close(found.softmax(-1), mean, atol=1e-5, rtol=1e-4)
    assert student.params == params - (head == "cosine")  # the scale is in the rows
    DistillArtifact(tmp_path).write_student(student)
    again = DistillArtifact(tmp_path).student()
    assert torch.equal(again(x), found) and again.spec.merged is (head == "cosine")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_are_the_heads_themselves(share: float) -> None:
    student, term = pair("linear")
    perturbed(term)
    with torch.no_grad():
        pooled = student.trunk(torch.randn(2, 3, 32, 32))
        wanted = term.logits(pooled) if share else student.classify(pooled)
        merge(student, term, share)
        torch.testing.assert_close(student.classify(pooled), wanted)


def test_the_share_of_least_cross_entropy_is_chosen() -> None:
    labels = torch.arange(CLASSES)
    right = 2 * torch.eye(CLASSES)
    wrong = right.roll(1, 0)
    assert best_share(wrong, right, labels) == 1.0 and best_share(right, wrong, labels) == 0.0
    assert best_share(right, right, labels) == 0.0, "of a tie the teacher's head"
    own, second = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 9.0]])
    shares = [step / 10 for step in range(11)]
    losses = [float(F.cross_entropy((1 - s) * own + s * second, labels[:2])) for s in shares]
    assert best_share(own, second, labels[:2]) == shares[losses.index(min(losses))]
    assert 0 < best_share(own, second, labels[:2]) < 1
