"""Narrower embedded students: the student CLIP without its weakest filters.

A filter's strength is its L2 norm with the batch norm folded in (Li et al. 2017, "Pruning Filters
for Efficient ConvNets"). The statistics of the batch norms are then measured again on pictures of
training flowers, and the projection is the least-squares fit to the outputs of the whole student
(He, Zhang and Sun 2017, "Channel Pruning").
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from compress.petals.nets import MEAN, STD, PetalCNN
from compress.petals.world import training_flowers

FLOWERS = 512  # pictures that statistics and projection are fitted on
BATCH = 64


def narrowed(weights: Mapping[str, Tensor], trunk: nn.Module) -> dict[str, Tensor]:
    """The weights of a narrower trunk: ``trunk.*``, ``proj.weight`` (D, F) and ``logit_scale``.

    Args:
        weights: of the whole student, from ``load_student_clip``.
        trunk: a PetalCNN with fewer channels, filled in place.
    """
    assert isinstance(trunk, PetalCNN)
    whole = PetalCNN()
    prefix = "trunk."
    parts = {name: value for name, value in weights.items() if name.startswith(prefix)}
    whole.load_state_dict({name.removeprefix(prefix): value for name, value in parts.items()})
    kept: Tensor | None = None
    with torch.no_grad():
        for wide, narrow in zip(_blocks(whole), _blocks(trunk), strict=True):
            kept = _prune(wide, narrow, kept)
        images = _pictures()
        _settle(trunk, images)
        goal = _run(whole.eval(), images).double() @ weights["proj.weight"].double().T
        x = _run(trunk.eval(), images).double()
        ridge = 1e-3 * x.square().mean() * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
        projection = torch.linalg.solve(x.T @ x + ridge, x.T @ goal).T
    return {
        **{f"{prefix}{name}": value.clone() for name, value in trunk.state_dict().items()},
        "proj.weight": projection.float().contiguous(),
        "logit_scale": weights["logit_scale"].clone(),
    }


def _blocks(net: PetalCNN) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The convolutions and their batch norms, in order."""
    parts = list(net.layers)
    pairs = zip(parts[0::3], parts[1::3], strict=True)
    return [(a, b) for a, b in pairs if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d)]


def _prune(
    wide: tuple[nn.Conv2d, nn.BatchNorm2d],
    narrow: tuple[nn.Conv2d, nn.BatchNorm2d],
    inputs: Tensor | None,
) -> Tensor:
    """Copies the strongest filters and returns their channels (c,), in order."""
    (conv, norm) = wide
    (small, small_norm) = narrow
    weight = conv.weight if inputs is None else conv.weight[:, inputs]
    assert norm.running_var is not None
    deviation = (norm.running_var + norm.eps).sqrt()
    strength = weight.flatten(1).norm(dim=1) * norm.weight.abs() / deviation
    kept = strength.argsort(descending=True, stable=True)[: small.out_channels].sort().values
    small.weight.copy_(weight[kept])
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(small_norm, name).copy_(getattr(norm, name)[kept])
    return kept


def _pictures() -> Tensor:
    """``(N, 3, 32, 32)`` normalized training flowers."""
    pixels = training_flowers(0, FLOWERS).images.astype(np.float32) / 255
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    mean = torch.tensor(MEAN).view(3, 1, 1)
    std = torch.tensor(STD).view(3, 1, 1)
    return ((images - mean) / std).contiguous()


def _settle(trunk: PetalCNN, images: Tensor) -> None:
    """Measures the statistics of the batch norms again: the mean over batches."""
    norms = [norm for _, norm in _blocks(trunk)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    trunk.train()
    _run(trunk, images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    trunk.eval()


def _run(net: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([net(part) for part in images.split(BATCH)])
