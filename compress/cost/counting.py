"""Floating-point operations of networks, counted on torch's device ``meta``: shapes, no weights.

One multiply-accumulate is 2 operations. Counted are matrix products, convolutions and attention,
which is what ``torch.utils.flop_counter`` knows; norms, activations, resizes, augmentation and the
search of a codebook are not. A count is kept in this user's cache, under what it was made from.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from compress.engine.store import canonical, sha256_text, write_json
from runtime.files.home import cache_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

#: a training step on an image: the forward pass, and the gradients of activations and of weights,
#: each of which takes as many products (torch's own count of the backward pass of a depthwise
#: convolution is wrong by the number of groups)
TRAINING = 3
#: a forward pass and the gradient of the input through a frozen network
INPUT_GRADIENT = 2

PACKAGES = ("torch", "timm", "open_clip_torch", "diffusers", "transformers")  # whose code decides


#: what networks raise that cannot be built, or run by shape alone
FAILURES = (
    NotImplementedError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
)


class NotCountable(Exception):
    """A network that cannot be built from its config, or that ``meta`` cannot run."""


@dataclass(frozen=True)
class Counted:
    """A network on one image or text.

    Attributes:
        flops: of its forward pass.
        params: its parameters.
        width: entries in its answer, e.g. of an embedding; 0 for an image.
    """

    flops: int
    params: int
    width: int = 0


def counted(what: Mapping[str, Any], count: Callable[[], Counted]) -> Counted:
    """``count()``, or what it gave before.

    Args:
        what: all that decides the count, as JSON values: a kind, a config, the size of an input.

    Raises:
        NotCountable: ``count`` failed as a network does.
    """
    key = sha256_text(canonical({"what": dict(what), "versions": _versions()}))
    file = cache_folder("flops") / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Counted(**json.loads(file.read_text(encoding="utf-8")))
    try:
        found = count()
    except FAILURES as error:
        raise NotCountable(f"{type(error).__name__}: {error}") from error
    with contextlib.suppress(OSError):  # a cache on a read-only disk is none
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(found))
    return found


def measure(network: nn.Module, call: Callable[..., Tensor], *inputs: Tensor) -> Counted:
    """Counts ``call(*inputs)``, of one image or text, on the device ``meta``.

    Args:
        network: whose parameters are counted.
        call: gives rows ``(1, D)`` or an image ``(1, C, H, W)``.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network.eval().requires_grad_(False)
    # no inference_mode: torch's counter follows modules by autograd hooks
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        answer = call(*inputs)
    width = int(answer.shape[-1]) if answer.ndim == 2 else 0
    return Counted(counter.get_total_flops(), parameters(network), width)


def parameters(network: nn.Module) -> int:
    """The number of values that a network learned."""
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
