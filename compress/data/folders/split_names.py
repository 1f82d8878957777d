"""The names of splits: train and test under any of their usual ones, also ``val2017``."""

from __future__ import annotations

import difflib
import re
from typing import Literal

from compress.data.class_names import class_name

TRAIN_NAMES = ("train", "training", "train_set", "training_set", "trainset")
TEST_NAMES = (  # the first present is used
    *("test", "testing", "test_set", "testing_set", "testset"),
    *("val", "valid", "validation", "val_set", "valid_set", "validation_set", "dev", "eval"),
)
NUMBER_BEHIND = re.compile(r"(?<=[a-z])_?\d+$")  # train1, val2017
TYPO = 0.7  # difflib's ratio: tets, trian, vaild


def plain(name: str) -> str:
    """A name of a split or of a column as it is compared: ``"Test Set "`` -> ``"test_set"``."""
    return re.sub(r"[\s_-]+", "_", class_name(name).casefold()).strip("_")


def split_name(name: str) -> str:
    """``plain`` without a number behind it: ``"val2017"`` -> ``"val"``."""
    return NUMBER_BEHIND.sub("", plain(name))


def split_kind(name: str) -> Literal["train", "test"] | None:
    """Which split a folder or a cell names, if any."""
    known = split_name(name)
    return "train" if known in TRAIN_NAMES else "test" if known in TEST_NAMES else None


def nearest_split(name: str) -> str | None:
    """The name of a split that a folder's name comes close to, e.g. "test" for "tets"."""
    known = [*TRAIN_NAMES, *TEST_NAMES]
    return next(iter(difflib.get_close_matches(split_name(name), known, 1, TYPO)), None)
