"""Two heads on one trunk while it trains, one head in what ships (DHO, arXiv 2505.07675).

Labels and teacher pull one classifier into different directions: with a shot per class the labels
are soon fitted, and what they then teach is to be sure. So the student's own head learns from the
teacher, a second one from the labels, and the trunk from both.

The paper mixes the probabilities of both heads, which takes two heads on the device. Here their
logits are mixed, ``z = s z_label + (1 − s) z_teacher``: the normalized geometric mean of the
probabilities, ``softmax(z) ~ p_label^s p_teacher^(1 − s)``, where the paper has the arithmetic
one [I]. Both heads are linear in the same features, so ``z`` is one linear head with rows
``s w_label + (1 − s) w_teacher``: exact, and the file is no larger than with one head. A cosine
head, ``scale · cos``, becomes a plain one on unit features, whose rows hold the scale. The paper's
temperature of the teacher's head would be a part of ``s`` in this form, and is left out.

``distill.label_share`` is s. If it is null, s has the least cross-entropy on fresh views of the
shots. Those views are new and their images are not: the label head knows them, so this choice leans
toward it. The paper chooses on a validation set, which a user with four shots does not have.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import runtime
from compress.data.augment import sampled
from compress.distill.batches import Batch, Batches
from compress.distill.students import Outputs, Student, classify
from compress.distill.terms import ObjectiveInputs, Term, trusted_cross_entropy
from compress.engine.stage import StageContext

SHARES = tuple(step / 10 for step in range(11))
FRESH_VIEWS = 4  # of a shot, to choose the share on [I]
MOST_SHOTS = 512  # whose fresh views are looked at, alike of all classes
CHUNK = 128  # views at a time


class LabelHeadTerm(Term):
    """Cross-entropy of a second head on trusted labels; the student's own head does not see it."""

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__(inputs)
        assert inputs.classifier is not None
        self.head = copy.deepcopy(inputs.classifier)
        scale = inputs.classifier_scale
        self.logit_scale = None if scale is None else nn.Parameter(scale.detach().clone())

    def start_as(self, student: Student) -> None:
        """Takes the weights that the student's own head has now."""
        self.head.load_state_dict(student.head.state_dict())
        if self.logit_scale is not None and student.logit_scale is not None:
            with torch.no_grad():
                self.logit_scale.copy_(student.logit_scale)

    def logits(self, features: Tensor) -> Tensor:
        """``(B, K)`` of what the student's own head reads."""
        return classify(features, self.head, self.logit_scale)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        read = out.pooled if out.below is None else out.below
        return trusted_cross_entropy(self.logits(read), batch, self.settings)


@torch.no_grad()
def merge(student: Student, second: LabelHeadTerm, share: float) -> None:
    """Leaves the student one head, whose logits are ``share`` parts of the second head's."""
    own = rows_of(student.head, student.logit_scale)
    other = rows_of(second.head, second.logit_scale)
    student.head.weight.copy_(torch.lerp(own, other, share))
    if student.head.bias is not None:
        student.head.bias.copy_(torch.lerp(student.head.bias, second.head.bias, share))
    if student.logit_scale is not None:
        student.logit_scale = None
        student.spec = replace(student.spec, merged=True)


def rows_of(head: nn.Linear, logit_scale: Tensor | None) -> Tensor:
    """The matrix ``(K, D)`` that a head multiplies its features with."""
    if logit_scale is None:
        return head.weight
    each = torch.eye(head.in_features, device=head.weight.device)
    return classify(each, head, logit_scale).T


@torch.no_grad()
def best_share(
    own: Tensor, second: Tensor, labels: Tensor, shares: Sequence[float] = SHARES
) -> float:
    """The share of the second head's logits ``(n, K)`` with the least mean cross-entropy.

    Of a tie the smallest: the teacher's head.
    """
    losses = [float(F.cross_entropy(torch.lerp(own, second, share), labels)) for share in shares]
    return shares[losses.index(min(losses))]


def fresh_views(ctx: StageContext, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of the shots that no training saw, ``(n, 3, S, S)``, and their classes ``(n,)``."""
    shots = batches.real
    fresh = replace(shots.renderings, pool="fresh", views=FRESH_VIEWS, place=None, most=0)
    chosen = sampled(shots.labels, MOST_SHOTS, ctx.seed)
    rows = (chosen[:, None] * FRESH_VIEWS + np.arange(FRESH_VIEWS)).ravel()
    for at in range(0, len(rows), CHUNK):
        some = rows[at : at + CHUNK]
        pixels = runtime.normalize(np.stack([fresh.at(int(r)) for r in some]), batches.preprocess)
        images = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
        yield images, torch.from_numpy(shots.labels[some // FRESH_VIEWS])
