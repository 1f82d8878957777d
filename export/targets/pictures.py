"""The images that a target is verified on: golden images, the run's test images, a folder's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.data.artifact import TEST, DataArtifact
from compress.data.folders.walk import takes_part, walk
from compress.engine.errors import ExportError
from runtime import golden
from runtime.bundle import GOLDEN, Bundle
from runtime.errors import ImageError
from runtime.preprocess import Geometry, ImageLike, PreprocessSpec, decode, geometry
from runtime.preprocess.decode import FORMATS
from runtime.preprocess.image_files import advice

MAX_IMAGES = 64
DATA = "data"  # the stage's folder in a run, beside the bundle
# Width and height as multiples of S: golden images may have the model's own size, at which nothing
# is resized.
OTHER_SIZES = ((2.6, 1.7), (1.3, 3.1), (0.8, 1.1))
RESIZED = 36  # images that copies of other sizes are made of


@dataclass(frozen=True)
class Pictures:
    """Images for parity."""

    whole: list[Image.Image]  # upright RGB, of any size
    pixels: NDArray[np.uint8]  # the same in the bundle's geometry, (n, S, S, 3)
    source: str  # where they come from, in words
    skipped: tuple[str, ...] = ()  # unreadable files

    def normalized(self, spec: PreprocessSpec) -> NDArray[np.float32]:
        """float32 (n, 3, S, S)."""
        return runtime.normalize(self.pixels, spec)

    def many_sizes(self, spec: PreprocessSpec) -> list[Image.Image]:
        """The images, and enlarged or reduced copies of the first few."""
        out = [image for image in self.whole if min(image.size) != spec.resize]
        for index, image in enumerate(self.whole[:RESIZED]):
            wide, high = OTHER_SIZES[index % len(OTHER_SIZES)]
            width = max(1, round(wide * spec.size) + index)
            height = max(1, round(high * spec.size) - index % 3)
            out.append(image.resize((width, height), Image.Resampling.LANCZOS))
        return out


def crops(images: Iterable[ImageLike], spec: Geometry) -> NDArray[np.uint8]:
    """Images of any size in a model's geometry, uint8 (n, S, S, 3)."""
    return np.stack([geometry(decode(image), spec) for image in images])


def gather(bundle: Bundle, folder: Path | None = None) -> Pictures:
    """Golden images, up to 64 test images where the bundle lies in a run, and those in ``folder``.

    Raises: ExportError: no image at all, or a folder without readable images.
    """
    whole: list[Image.Image] = []
    sources: list[str] = []
    skipped: list[str] = []
    if GOLDEN in bundle.manifest["files"]:
        vectors = golden.read(bundle.path / GOLDEN)
        count = len(vectors["decoded"])
        whole += [decode(vectors[f"img_{index}"].tobytes()) for index in range(count)]
        sources.append(f"{count} golden")
    tests = _test_images(bundle)
    if tests:
        whole += tests
        sources.append(f"{len(tests)} test")
    if folder is not None:
        readable, skipped = from_folder(folder)
        whole += readable
        sources.append(f"{len(readable)} of --images")
    if not whole:
        what = f"there is no image to verify a target on, and no {GOLDEN} in {bundle.path}"
        raise ExportError(what, remedy="say --images DIR")
    pixels = crops(whole, bundle.preprocess)
    return Pictures(whole, pixels, " + ".join(sources), tuple(skipped))


def _test_images(bundle: Bundle) -> list[Image.Image]:
    """Images spread over the run's test set, (n, S, S, 3) as the run prepared them."""
    data = DataArtifact(bundle.path.resolve().parent / DATA)
    try:
        images = data.images(TEST).pixels
    except (OSError, ValueError):  # the bundle lies in no run
        return []
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        return []
    return [Image.fromarray(np.asarray(images[index])) for index in _spread(len(images))]


def _spread(count: int) -> NDArray[np.int64]:
    """Up to ``MAX_IMAGES`` of ``count`` indices, spread evenly."""
    return np.linspace(0, count - 1, min(MAX_IMAGES, count)).astype(np.int64)


def from_folder(folder: Path) -> tuple[list[Image.Image], list[str]]:
    """Up to 64 images spread over a folder and those below it, and the names of unreadable files.

    Raises: ExportError: no readable image.
    """
    below = walk(folder) if folder.is_dir() else ()
    files = sorted(path for path in below if takes_part(path, folder))
    reasons = []
    readable = []
    skipped = []
    for file in (files[index] for index in _spread(len(files))):
        try:
            readable.append(decode(file))
        except ImageError as error:
            skipped.append(file.name)
            reasons.append(f"{error}" + (f" · {hint}" if (hint := advice(file)) else ""))
    if not readable:
        got = f"{folder} with {len(skipped)} unreadable images"
        got += f", the first: {reasons[0]}" if reasons else ""
        expected = f"a folder of {', '.join(FORMATS)} images"
        raise ExportError("--images holds no readable image", got=got, expected=expected)
    return readable, skipped
