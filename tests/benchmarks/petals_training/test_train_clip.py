"""The contrastive loss."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.petals_training.train_clip import contrastive_loss


def test_contrastive_loss_against_the_formula() -> None:
    unit = torch.eye(3)
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert contrastive_loss(unit, unit, torch.tensor(math.log(2.0))).item() == pytest.approx(
        expected
    )


def test_with_labels_all_pairs_of_one_label_match() -> None:
    unit, scale = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor(math.log(3.0))
    distinct = contrastive_loss(unit, unit, scale, torch.tensor([5, 6, 7]))
    assert distinct.item() == pytest.approx(contrastive_loss(unit, unit, scale).item())
    total = 2 * math.exp(3) + 1  # of the softmax in the first two rows
    expected = (2 * -math.log(math.exp(3) / total) - math.log(math.exp(3) / (math.exp(3) + 2))) / 3
    assert contrastive_loss(unit, unit, scale, torch.tensor([4, 4, 9])).item() == pytest.approx(
        expected
    )
