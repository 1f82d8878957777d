"""The real images that a target is verified on: the bundle's golden ones, its run's test images, a
folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.engine.errors import ExportError
from runtime import golden
from runtime.bundle import GOLDEN, Bundle
from runtime.errors import ImageError
from runtime.preprocess import PreprocessSpec, decode, geometry

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
MAX_IMAGES = 64
TEST_IMAGES = Path("data") / "test.npy"  # in a run's folder, beside the bundle
# Width and height as multiples of S: a bundle's golden images may have the model's own size, at
# which nothing is resized.
OTHER_SIZES = ((2.6, 1.7), (1.3, 3.1), (0.8, 1.1))

MADE_LARGER = 36  # images of which such copies are made


@dataclass(frozen=True)
class Pictures:
    """Images for parity.

    Attributes:
        whole: upright RGB images of any size.
        pixels: the same in the bundle's geometry, uint8 (n, S, S, 3).
        source: where they come from, in words.
        skipped: files that are no readable images.
    """

    whole: list[Image.Image]
    pixels: NDArray[np.uint8]
    source: str
    skipped: tuple[str, ...] = ()

    def normalized(self, spec: PreprocessSpec) -> NDArray[np.float32]:
        """float32 (n, 3, S, S)."""
        return runtime.normalize(self.pixels, spec)

    def many_sizes(self, spec: PreprocessSpec) -> list[Image.Image]:
        """Images of several sizes: the given ones, and enlarged or reduced copies of the first
        few.
        """
        out = [image for image in self.whole if min(image.size) != spec.resize]
        for index, image in enumerate(self.whole[:MADE_LARGER]):
            wide, high = OTHER_SIZES[index % len(OTHER_SIZES)]
            size = (
                max(1, round(wide * spec.size) + index),
                max(1, round(high * spec.size) - index % 3),
            )
            out.append(image.resize(size, Image.Resampling.LANCZOS))
        return out


def gather(bundle: Bundle, folder: Path | None = None) -> Pictures:
    """The golden images, up to 64 of the run's test images where the bundle lies in a run, and
    those in ``folder``.

    Raises:
        ExportError: no image at all, or a folder without readable images.
    """
    whole: list[Image.Image] = []
    sources: list[str] = []
    skipped: list[str] = []
    if GOLDEN in bundle.manifest["files"]:
        vectors = golden.read(bundle.path / GOLDEN)
        whole += [
            decode(vectors[f"img_{index}"].tobytes()) for index in range(len(vectors["decoded"]))
        ]
        sources.append(f"{len(whole)} golden")
    tests = _test_images(bundle)
    if tests:
        whole += tests
        sources.append(f"{len(tests)} test")
    if folder is not None:
        found, skipped = from_folder(folder)
        whole += found
        sources.append(f"{len(found)} of --images")
    if not whole:
        raise ExportError(
            "there is no image to verify a target on",
            got=f"no {GOLDEN} in {bundle.path}",
            remedy="say --images DIR",
        )
    pixels = np.stack([geometry(image, bundle.preprocess) for image in whole])
    return Pictures(whole, pixels, " + ".join(sources), tuple(skipped))


def _test_images(bundle: Bundle) -> list[Image.Image]:
    """Images spread over the run's test set, (n, S, S, 3) as the run prepared them."""
    file = bundle.path.resolve().parent / TEST_IMAGES
    if not file.is_file():
        return []
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        return []
    chosen = np.linspace(0, len(images) - 1, min(MAX_IMAGES, len(images))).astype(int)
    return [Image.fromarray(np.asarray(images[index])) for index in chosen]


def from_folder(folder: Path) -> tuple[list[Image.Image], list[str]]:
    """Up to 64 images spread over a folder and those below it, and the names of files that are no
    readable images.

    Raises:
        ExportError: no readable image.
    """
    files: Sequence[Path] = (
        sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if folder.is_dir()
        else []
    )
    if len(files) > MAX_IMAGES:
        files = [files[index] for index in np.linspace(0, len(files) - 1, MAX_IMAGES).astype(int)]
    found, skipped = [], []
    for file in files:
        try:
            found.append(decode(file))
        except ImageError:
            skipped.append(file.name)
    if not found:
        raise ExportError(
            "--images holds no readable image",
            got=f"{folder} with {len(skipped)} unreadable files",
            expected=f"a folder of {', '.join(sorted(SUFFIXES))}",
        )
    return found, skipped
