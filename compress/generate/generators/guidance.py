"""Guidance in a part of the steps only, for every pipeline of diffusers that guides its UNet.

At each step a pipeline shows its UNet the batch twice, ``[without; with]`` the condition. Guidance
is needed in the middle: at high noise it costs diversity, at low noise it does nothing
(arXiv 2404.07724). Outside of the interval the UNet sees the half with the condition alone, and its
answer stands for both: what pipelines make of two equal halves is the conditional one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Interval = tuple[float, float]
ALWAYS: Interval = (0.0, 1.0)


def is_guided(step: int, steps: int, interval: Interval) -> bool:
    """Whether a step of so many, counted from the noise, lies in a share of them."""
    first, last = interval
    return first * steps <= step < last * steps


def guided_steps(steps: int, interval: Interval) -> int:
    """How many steps are guided."""
    return sum(is_guided(step, steps, interval) for step in range(steps))


@contextmanager
def guided(pipeline: Any, scale: float, interval: Interval) -> Iterator[None]:
    """Guides the pipeline's UNet in a share of its steps, as long as it lasts.

    Args:
        scale: of guidance; up to 1 pipelines do not guide, and nothing is done.
        interval: first and last step as shares of all, from the noise to the image.
    """
    if scale <= 1 or interval == ALWAYS:
        yield
        return
    import torch

    unet = pipeline.unet
    outside = False

    def before(
        _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal outside
        sample = kwargs["sample"] if "sample" in kwargs else args[0]
        time = kwargs["timestep"] if "timestep" in kwargs else args[1]
        times = pipeline.scheduler.timesteps
        step = int((times == time.to(times.device)).nonzero()[0])
        outside = not is_guided(step, len(times), interval)
        if not outside:
            return args, kwargs
        return _conditional(args, len(sample)), _conditional(kwargs, len(sample))

    def after(_: torch.nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not outside:
            return output
        if isinstance(output, tuple):
            return tuple(torch.cat((rows, rows)) for rows in output)
        return type(output)(**{name: torch.cat((rows, rows)) for name, rows in output.items()})

    hooks = (
        unet.register_forward_pre_hook(before, with_kwargs=True),
        unet.register_forward_hook(after),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _conditional(value: Any, rows: int) -> Any:
    """The second half of every tensor that has a row for each of the batch."""
    if isinstance(value, dict):
        return {name: _conditional(each, rows) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_conditional(each, rows) for each in value)
    if getattr(value, "ndim", 0) and len(value) == rows:
        return value.chunk(2)[1]
    return value
