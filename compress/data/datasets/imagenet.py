"""ImageNet-1k, and ten parts of it with a hundred classes each.

    ROOT/imagenet/train/n01440764/*.JPEG      as the training archives unpack
    ROOT/imagenet/val/n01440764/*.JPEG        the validation images, sorted into their classes

Names are those of CLIP's authors, which open_clip holds in the order of WordNet's numbers; a number
stands beside its name, so that networks trained on ImageNet know which class is meant.

Wei et al. (CVLM, OpenReview 1aF2D2CPHi) divide the classes at random into ten parts and do not say
which; ours are drawn with seed 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np

from compress.data.datasets.readers import Listing, digest_files
from compress.data.folders.source import class_files, split_files
from compress.engine.config import DataSettings
from compress.engine.errors import DataError
from compress.engine.seeds import numpy_rng

CLASSES = 1000
PARTS = 10
#: two names stand for two classes each in CLIP's list; the other word of WordNet for one of them
RENAMED = {"n04008634": "projectile", "n04355933": "sunglass"}


@dataclass(frozen=True)
class ImageNet:
    """A reader of the folders above.

    Attributes:
        part: 1 ... ``PARTS``, or 0 for all classes.
    """

    part: int = 0

    def __call__(self, settings: DataSettings, root: Path, download: bool) -> Listing:
        base = root / "imagenet"
        train_files, test_files = (class_files(base / name) for name in ("train", "val"))
        numbers = sorted(train_files)
        if len(numbers) != CLASSES or numbers != sorted(test_files):
            raise DataError(
                f"{base} does not hold the classes of ImageNet-1k",
                got=f"{len(numbers)} folders in train, {len(test_files)} in val",
                expected=f"{CLASSES} folders of the same names in both",
            )
        rows = part_of(self.part) if self.part else range(CLASSES)
        folders = [numbers[row] for row in rows]
        every = clip_names()
        names = tuple(RENAMED.get(numbers[row], every[row]) for row in rows)
        train = split_files(base / "train", train_files, folders, settings.max_pixels)
        test = split_files(base / "val", test_files, folders, settings.max_pixels)
        synonyms = tuple((number,) for number in folders)
        return Listing(names, train, test, lambda: digest_files(train, test), synonyms=synonyms)


def part_of(part: int) -> list[int]:
    """The classes of a part, in order."""
    drawn = numpy_rng(0, "imagenet parts").permutation(CLASSES).reshape(PARTS, -1)
    return [int(row) for row in np.sort(drawn[part - 1])]


@cache
def clip_names() -> tuple[str, ...]:
    """CLIP's names of the classes, from open_clip's file of them, which needs no torch.

    ImportError without open_clip.
    """
    package = find_spec("open_clip")
    places = (package.submodule_search_locations if package else None) or ()
    for place in places:
        found = spec_from_file_location("imagenet_names", Path(place) / "zero_shot_metadata.py")
        if found is not None and found.loader is not None:
            module: ModuleType = module_from_spec(found)
            found.loader.exec_module(module)
            return tuple(module.IMAGENET_CLASSNAMES)
    raise ImportError("no open_clip", name="open_clip")
