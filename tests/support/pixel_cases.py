"""Images and preprocessing at random, for apps that crop and normalize in another language."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from runtime import PreprocessSpec, geometry, normalize


def pillow_pixels(cases: list[tuple[np.ndarray, PreprocessSpec]]) -> list[list[str]]:
    rows = []
    for pixels, spec in cases:
        crop = geometry(Image.fromarray(pixels), spec)
        tensor = normalize(crop, spec)
        rows.append(
            [
                hashlib.sha256(crop.tobytes()).hexdigest(),
                hashlib.sha256(tensor.tobytes()).hexdigest(),
            ]
        )
    return rows


def random_cases(count: int) -> list[tuple[np.ndarray, PreprocessSpec]]:
    """Sizes and specs at random; noise and black-and-white, where rounding and overshoot show; tall
    and wide slivers.
    """
    rng = np.random.default_rng(0)
    cases = []
    for index in range(count):
        width, height = (int(edge) for edge in rng.integers(1, 260, 2))
        if index % 7 == 0:
            width, height = 3 + index % 5, 300
        if index % 7 == 1:
            width, height = 300, 3 + index % 5
        size = int(rng.integers(4, 100))
        mean, std = tuple(rng.uniform(0.3, 0.6, 3)), tuple(rng.uniform(0.2, 0.4, 3))
        spec = PreprocessSpec(
            size, size + int(rng.integers(0, 20)), ("bicubic", "bilinear")[index % 2], mean, std
        )
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cases.append((pixels if index % 3 else (pixels > 127).astype(np.uint8) * 255, spec))
    return cases
