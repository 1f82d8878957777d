"""The spherical distance that images are optimized by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LARGEST = 1 - 1e-6  # of half the chord: the slope of arcsin diverges at 1, for antipodal vectors


def spherical(a: Tensor, b: Tensor) -> Tensor:
    """``2 * arcsin(|u(a) - u(b)| / 2)^2`` over the last axis: half the squared angle, in rad^2.

    As in VQGAN-CLIP's code (class ``Prompt``). The poster of CVLM prints it without ``/ 2``, which
    is not a number wherever the cosine is below 0.5: for every pair of image and text.
    """
    chord = (functional.normalize(a, dim=-1) - functional.normalize(b, dim=-1)).norm(dim=-1)
    return 2 * torch.arcsin((chord / 2).clamp(max=LARGEST)).square()
