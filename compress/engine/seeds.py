"""Counter-based randomness: a seed depends on its purpose, never on what ran before.

``derive(run_seed, "generate", class_id, image_id)`` gives the same number on any machine, in any
order and on any number of workers. So a single image or batch can be made again alone, and a
resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the purpose ``path``; distinct paths give independent seeds."""
    text = "\x1f".join([str(int(seed)), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(seed: int, *path: str | int) -> np.random.Generator:
    """A NumPy generator for the purpose ``path``."""
    return np.random.Generator(np.random.Philox(derive(seed, *path)))


def torch_rng(seed: int, *path: str | int, device: str = "cpu") -> torch.Generator:
    """A torch generator for the purpose ``path``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *path))


def manual_seed(seed: int, *path: str | int) -> None:
    """Seeds torch's global generator (dropout and the like) for the purpose ``path``."""
    import torch

    torch.manual_seed(derive(seed, *path))
