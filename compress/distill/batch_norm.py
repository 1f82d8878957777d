"""Batch norm over the rows of all ranks: N ranks train with the statistics that one would use.

torch's ``SyncBatchNorm`` refuses tensors on a CPU, and networks have batch norms of their own
classes (timm's ``BatchNormAct2d``). So the function that all of them call is replaced while a loss
is computed. Frozen batch norms have no statistics of a batch, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from compress.engine import ranks


def synced_batch_norm() -> AbstractContextManager[object]:
    """In the body, batch norms in training mode take the statistics of all ranks' rows.

    Each rank must have as many rows. For one rank this does nothing.
    """
    return _Synced() if ranks.count() > 1 else nullcontext()


class _Synced(TorchFunctionMode):
    """Replaces ``torch.nn.functional.batch_norm`` in training mode."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.batch_norm and kwargs.get("training"):
            return _batch_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As ``torch.nn.functional.batch_norm`` in training mode, of ``x (B, C, ...)`` on all ranks."""
    scale = x.new_ones(x.shape[1], dtype=torch.float32) if weight is None else weight
    shift = torch.zeros_like(scale) if bias is None else bias
    out, mean, variance = _BatchNorm.apply(x, scale, shift, eps)
    if running_mean is not None and running_var is not None:
        n = ranks.count() * x.numel() // x.shape[1]
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * n / (n - 1)).to(running_var.dtype), momentum)
    return out  # type: ignore[no-any-return]


class _BatchNorm(torch.autograd.Function):
    """Normalizes with the mean and the variance over all ranks' rows; two collectives in all.

    With ``y = w (x - m) / s + b`` over n values and the loss summed over the ranks:
    ``dx = w / s (dy - mean(dy) - (x - m) / s mean(dy (x - m) / s))`` (Ioffe and Szegedy 2015).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        # torch's statistics of batch norms: 10 times as fast as `var_mean` on channels-last maps
        mean, variance = torch.batch_norm_update_stats(x.float(), None, None, 0.0)
        # each rank has as many values: means of means, and the spread of the means on top
        variances, means = ranks.gathered(torch.stack([variance, mean])).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        out = torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, True)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # of a norm with fixed statistics: w / s dy, and the sums of dy (x - m) / s and of dy
        out, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.eps, [True] * 3
        )
        n = ranks.count() * x.numel() // x.shape[1]
        slope, level = ranks.total(torch.stack([by_weight, by_bias])).unbind(0)
        inverse = (variance + ctx.eps).rsqrt()
        slope = -weight * inverse.square() * slope / n
        level = -weight * inverse * level / n - slope * mean
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        out = out.addcmul(x, slope.view(shape).to(x.dtype)).add_(level.view(shape).to(x.dtype))
        return out, by_weight, by_bias, None
