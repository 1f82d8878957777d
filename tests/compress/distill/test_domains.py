"""Batch norm per domain: each by its own statistics, and those of photos ship."""

from __future__ import annotations

import copy

import pytest
import torch
from distill_targets import new_student

from compress.distill.domains import apart, running_statistics_kept

REAL = torch.tensor([True, False, True, True, False, False])


def images() -> torch.Tensor:
    drawn = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    drawn[~REAL] = 3 * drawn[~REAL] + 2  # another contrast and color
    return drawn


def running(student: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in student.named_buffers() if "running" in name}


def test_each_domain_is_normalized_alone_and_only_photos_move_the_statistics() -> None:
    student = new_student().train()
    alone = copy.deepcopy(student)
    out = apart(student.outputs, student, images(), REAL)
    for rows in (REAL, ~REAL):
        expected = copy.deepcopy(alone).outputs(images()[rows])
        torch.testing.assert_close(out.pooled[rows], expected.pooled, atol=1e-3, rtol=1e-3)
    mixed = copy.deepcopy(alone).outputs(images()).pooled
    assert float((out.pooled - mixed).detach().abs().max()) > 0.05
    alone.outputs(images()[REAL])
    for name, value in running(student).items():
        torch.testing.assert_close(value, running(alone)[name], atol=1e-4, rtol=1e-3)
    out.logits.sum().backward()
    assert all(p.grad is not None for p in student.parameters())


def test_momenta_come_back_after_an_error() -> None:
    student = new_student().train()
    norms = [m for m in student.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with pytest.raises(KeyError), running_statistics_kept(student):
        assert {norm.momentum for norm in norms} == {0.0}
        raise KeyError
    assert {norm.momentum for norm in norms} == {0.1}
