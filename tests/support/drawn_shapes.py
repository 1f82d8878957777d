"""A small real data set: twelve classes of colored shapes on clutter, hard enough for mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLORS = {
    "crimson": (190, 30, 60),
    "amber": (220, 150, 30),
    "indigo": (60, 50, 160),
    "moss": (80, 120, 50),
}
SHAPES = ("disc", "square", "cross")
NAMES = tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)


def draw(name: str, rng: np.random.Generator) -> Image.Image:
    """A colored shape on clutter, 44 x 40, noisy enough that some are confused."""
    color, shape = name.split()
    image = Image.fromarray(rng.integers(90, 190, (40, 44, 3)).astype(np.uint8))
    pen, (x, y), r = ImageDraw.Draw(image), rng.integers(14, 27, 2), int(rng.integers(7, 13))
    ink = tuple(int(v) for v in np.clip(np.array(COLORS[color]) + rng.normal(0, 38, 3), 0, 255))
    if shape == "disc":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    elif shape == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), fill=ink)
    else:
        pen.rectangle((x - r, y - 3, x + r, y + 3), fill=ink)
        pen.rectangle((x - 3, y - r, x + 3, y + r), fill=ink)
    return image


def shapes_folder(root: Path, shots: int = 6, tests: int = 12) -> Path:
    """An ImageFolder with train/ and test/, one of whose test files is broken."""
    rng = np.random.default_rng(0)
    for split, count in (("train", shots), ("test", tests)):
        for name in NAMES:
            folder = root / split / name.replace(" ", "_")
            folder.mkdir(parents=True)
            for i in range(count):
                draw(name, rng).save(folder / f"{i:02d}.png")
    (root / "test" / NAMES[0].replace(" ", "_") / "broken.png").write_bytes(
        b"\x89PNG\r\n\x1a\n and then nothing"
    )
    return root
