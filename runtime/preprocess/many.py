"""One image or many: what ``predict`` takes, decoded a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from runtime.errors import ImageError
from runtime.preprocess.decode import ImageLike, decode, is_encoded

OneOrMany = ImageLike | Iterable[ImageLike]


def is_single(images: object) -> bool:
    """Whether it is one image: a path, bytes, file, PIL image or array of up to 3 dimensions."""
    if isinstance(images, np.ndarray):
        return images.ndim <= 3
    return is_encoded(images) or isinstance(images, Image.Image)


def decoded(images: Any, step: int) -> Iterator[list[Image.Image]]:
    """Decoded images, ``step`` at a time; an error names the position in a list."""
    if is_single(images):
        yield [decode(images)]
        return
    if isinstance(images, (set, frozenset, Mapping)) or not isinstance(images, Iterable):
        got = type(images).__name__
        expected = "an image, or a sequence of images"
        raise ImageError("images of unknown type", got=got, expected=expected)
    items = enumerate(images)
    while part := [_decoded_at(index, image) for index, image in islice(items, step)]:
        yield part


def _decoded_at(index: int, image: ImageLike) -> Image.Image:
    try:
        return decode(image)
    except ImageError as error:
        what = f"images[{index}]: {error.what}"
        why: Any = {"got": error.got, "expected": error.expected, "remedy": error.remedy}
        raise ImageError(what, **why) from error
