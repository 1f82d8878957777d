"""Batch norm over two real processes: as one process on all rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchrun import run_script

from compress.distill.batch_norm import synced_batch_norm

SCRIPT = """
import copy
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import nn
from compress.distill.batch_norm import synced_batch_norm
from compress.engine import ranks

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), BatchNormAct2d(8),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(8, affine=False), nn.Linear(8, 4),
).to(memory_format=torch.channels_last)
x = 5 + torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))
y = torch.arange(16) % 4
exact = copy.deepcopy(net).double()
whole = F.cross_entropy(exact(x.double()), y)
whole.backward()
ranks.connect("cpu")
order = ranks.leading({}) if ranks.started() and not ranks.follows() else None
if order is None:
    next(ranks.orders())
    order = ranks.following()
with order:
    rows = slice(ranks.rank(), None, ranks.count())
    with synced_batch_norm():
        out = net(x[rows].contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(out, y[rows])
    loss.backward()
    ranks.average_gradients(net.parameters())
    mean = ranks.mean({"loss": float(loss.detach())})["loss"]
    assert abs(mean - float(whole.detach())) < 1e-6
    for (name, one), other in zip(net.named_parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-3, atol=1e-5, msg=name)
    for (name, one), other in zip(net.named_buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-5, atol=1e-6, msg=name)
    frozen = net.eval()
    with synced_batch_norm():  # uses no batch: the ranks may differ in what they do
        assert frozen(x[: 1 + ranks.rank()]).shape == (1 + ranks.rank(), 4)
"""


@pytest.mark.slow
def test_two_ranks_normalize_as_one_with_all_rows(tmp_path: Path) -> None:
    run_script(tmp_path, SCRIPT)


def test_one_rank_has_torchs_batch_norm_bit_by_bit() -> None:
    x = torch.randn(4, 3, 5, 5)
    with synced_batch_norm():
        inside = nn.BatchNorm2d(3)(x)
    assert torch.equal(inside, nn.BatchNorm2d(3)(x))
