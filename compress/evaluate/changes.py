"""What changes from one model to another on the same images: by class, tested, and by image.

A model that is as good on average may have traded one class for another, so an exact McNemar test
is made per class. The K p-values are corrected after Holm (Scand. J. Stat. 6, 1979), which bounds
the chance of a single false alarm over all classes, whatever their dependence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.comparison import mcnemar_exact
from compress.evaluate.metrics import COUNT, DIFFERENCE, FRACTION, SOME, Floats, Ints, softmax

LEVEL = 0.05  # family-wise, over the classes
LISTED = 200  # images listed per direction; their number is always given


@dataclass(frozen=True)
class ClassChange:
    """One class: accuracies of the first and the second model, and first minus second.

    ``lost`` images are right in the second alone, ``gained`` ones in the first alone. ``p`` is
    exact McNemar over the class, ``p_holm`` the same corrected for the number of classes.
    """

    name: str
    n: int = field(metadata=SOME)
    first: float = field(metadata=FRACTION)
    second: float = field(metadata=FRACTION)
    difference: float = field(metadata=DIFFERENCE)
    lost: int = field(metadata=COUNT)
    gained: int = field(metadata=COUNT)
    p: float = field(metadata=FRACTION)
    p_holm: float = field(metadata=FRACTION)


@dataclass(frozen=True)
class Flip:
    """An image whose answer turned right or wrong; ``before`` is the second model's answer."""

    key: str
    true: str
    before: str
    before_confidence: float = field(metadata=FRACTION)
    after: str
    after_confidence: float = field(metadata=FRACTION)


@dataclass(frozen=True)
class Changes:
    """The first model against the second.

    Attributes:
        lost: images that are right in the second and wrong in the first; ``gained`` the reverse.
        moved: images that are wrong in both, with different answers.
        needed: changes of one class, all in one direction, that are significant.
        tested: classes with test images, which p-values are corrected for; ``smallest`` is the
            fewest images of one.
        classes: those with lost or gained images, the largest loss first.
        right_to_wrong: the surest answers first, at most ``LISTED``; ``wrong_to_right`` likewise.
    """

    first: str
    second: str
    n: int = field(metadata=COUNT)
    lost: int = field(metadata=COUNT)
    gained: int = field(metadata=COUNT)
    moved: int = field(metadata=COUNT)
    needed: int = field(metadata=COUNT)
    tested: int = field(metadata=COUNT)
    smallest: int = field(metadata=COUNT)
    classes: tuple[ClassChange, ...]
    right_to_wrong: tuple[Flip, ...]
    wrong_to_right: tuple[Flip, ...]

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        values = asdict(self).items()
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values}


def changes(
    first: tuple[str, Floats],
    second: tuple[str, Floats],
    labels: Ints,
    names: Sequence[str],
    keys: Sequence[str] = (),
) -> Changes:
    """Compares two models, each a name and logits (N, K), class by class; labels are (N,).

    Without ``keys``, the N images' names, no image is listed. Raises ValueError for other shapes.
    """
    first_name, a = first
    second_name, b = second
    if not a.shape == b.shape == (*labels.shape, len(names)) or len(keys) not in (0, len(a)):
        raise ValueError(
            "two models need logits (N, K), N labels, K names and N keys or none, got "
            f"{a.shape}, {b.shape}, {labels.shape}, {len(names)} names and {len(keys)} keys"
        )
    class_a = a.argmax(axis=1)
    class_b = b.argmax(axis=1)
    right_a = class_a == labels
    right_b = class_b == labels
    lost = right_b & ~right_a
    gained = right_a & ~right_b
    tested = [k for k in range(len(names)) if (labels == k).any()]
    classes = [_class(names[k], right_a[labels == k], right_b[labels == k]) for k in tested]
    corrected = zip(classes, holm([row.p for row in classes]), strict=True)
    changed = [replace(row, p_holm=p) for row, p in corrected if row.lost or row.gained]
    changed.sort(key=lambda row: (row.difference, row.gained - row.lost, row.name))
    sure_a = softmax(a).max(axis=1)
    sure_b = softmax(b).max(axis=1)

    def flip(i: int) -> Flip:
        before = (names[class_b[i]], round(float(sure_b[i]), 4))
        after = (names[class_a[i]], round(float(sure_a[i]), 4))
        return Flip(keys[i], names[labels[i]], *before, *after)

    def listed(mask: NDArray[np.bool_], surest: NDArray[np.float64]) -> tuple[Flip, ...]:
        rows = np.flatnonzero(mask) if len(keys) else np.empty(0, np.int64)
        return tuple(map(flip, rows[np.argsort(-surest[rows], kind="stable")][:LISTED].tolist()))

    return Changes(
        first=first_name,
        second=second_name,
        n=len(labels),
        lost=int(lost.sum()),
        gained=int(gained.sum()),
        moved=int((~right_a & ~right_b & (class_a != class_b)).sum()),
        needed=needed(len(tested)),
        tested=len(tested),
        smallest=min((row.n for row in classes), default=0),
        classes=tuple(changed),
        right_to_wrong=listed(lost, sure_a),
        wrong_to_right=listed(gained, sure_a),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the given order: ``max over j <= i of min(1, (m - j + 1) p_(j))``."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.minimum(scaled, 1.0))
    return [float(p) for p in adjusted]


def needed(classes: int, level: float = LEVEL) -> int:
    """Smallest number of changes, all in one direction, with ``classes * 2 / 2^n <= level``."""
    return math.ceil(math.log2(2 * max(classes, 1) / level) - 1e-12)


def _class(name: str, right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> ClassChange:
    n = len(right_a)
    lost = int((right_b & ~right_a).sum())
    gained = int((right_a & ~right_b).sum())
    accuracies = (float(right_a.mean()), float(right_b.mean()))
    p = mcnemar_exact(gained, lost)
    return ClassChange(name, n, *accuracies, (gained - lost) / n, lost, gained, p, p_holm=p)
