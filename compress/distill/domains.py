"""Batch norm per domain: real and synthetic images are normalized each by their own statistics.

Synthetic images differ from photos in contrast, color and grain. With common statistics both are
normalized by those of a mix that no test image belongs to. So each domain passes the trunk by
itself, with the same weights, scales and shifts, and running statistics are those of the real
images alone: what ships is the network as it treated photos. The graph that is exported is the
same. (Domain-specific batch norm, Chang et al. 2019, arXiv 1906.03950, here with common scales and
shifts [I]; AdvProp's auxiliary norm for other images, Xie et al. 2020, arXiv 1911.09665.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compress.distill.students import Outputs


def apart(
    outputs: Callable[[Tensor], Outputs], student: nn.Module, images: Tensor, real: Tensor
) -> Outputs:
    """The outputs of a batch, real rows first by themselves, then the others."""
    rows = [torch.nonzero(mask)[:, 0] for mask in (real, ~real)]
    parts = [outputs(_rows(images, rows[0]))]
    with running_statistics_kept(student):
        parts.append(outputs(_rows(images, rows[1])))
    return Outputs.joined(parts).at(torch.argsort(torch.cat(rows)))


def _rows(images: Tensor, rows: Tensor) -> Tensor:
    return images[rows].contiguous(memory_format=torch.channels_last)


@contextmanager
def running_statistics_kept(student: nn.Module) -> Iterator[None]:
    """In the body, batch norms normalize by the batch and do not move what they gathered."""
    norms = [
        module
        for module in student.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
