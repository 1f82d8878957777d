"""What changed between two forms of a model on the same images: class by class with a paired test,
and image by image.

A form that is as good on average may have traded one class for another. Per class the exact McNemar
test is made on the images of that class alone; with K classes tested at once, p-values are
corrected after Holm (Scand. J. Stat. 6, 1979), which holds the chance of a single false alarm over
all classes at the level, whatever their dependence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.metrics import (
    COUNT,
    DIFFERENCE,
    FRACTION,
    SOME,
    Floats,
    Ints,
    mcnemar_exact,
    softmax,
)

LEVEL = 0.05  # family-wise, over the classes
LISTED = 200  # images listed per direction; their number is always told


@dataclass(frozen=True)
class ClassChange:
    """One class: ``first`` and ``second`` are accuracies (fractions), ``difference`` is first minus
    second.

    ``lost`` images are right in the second form alone, ``gained`` ones in the first alone. ``p`` is
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
    """An image whose answer turned from right to wrong or back: ``before`` is the second form's
    answer.
    """

    key: str
    true: str
    before: str
    before_confidence: float = field(metadata=FRACTION)
    after: str
    after_confidence: float = field(metadata=FRACTION)


@dataclass(frozen=True)
class Changes:
    """First form against second form.

    Attributes:
        lost: images that the second form gets right and the first wrong; ``gained`` the other way
            round.
        moved: images that are wrong in both, with different answers.
        needed: images of one class that have to change in one direction for that class to be
            significant.
        tested: classes with test images, the number that p-values are corrected for; ``smallest``
            has the fewest images.
        classes: those where an image was lost or gained, the one that lost most first; in all
            others nothing changed.
        right_to_wrong: the surest wrong answers first, at most ``LISTED``; ``wrong_to_right``
            likewise.
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
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def changes(
    first: tuple[str, Floats],
    second: tuple[str, Floats],
    labels: Ints,
    names: Sequence[str],
    keys: Sequence[str] = (),
) -> Changes:
    """Compares two forms class by class.

    Args:
        first, second: name and logits (N, K). labels: (N,). names: the K classes.
        keys: the N images' names; without them no image is listed.

    Raises:
        ValueError: shapes that do not fit.
    """
    (first_name, a), (second_name, b) = first, second
    if (
        a.shape != b.shape
        or labels.shape != a.shape[:1]
        or len(names) != a.shape[1]
        or len(keys) not in (0, len(a))
    ):
        raise ValueError(
            "two forms need logits (N, K), N labels, K names and N keys or none, got "
            f"{a.shape}, {b.shape}, "
            f"{labels.shape}, {len(names)} names and {len(keys)} keys"
        )
    said_a, said_b = a.argmax(axis=1), b.argmax(axis=1)
    right_a, right_b = said_a == labels, said_b == labels
    lost, gained = right_b & ~right_a, right_a & ~right_b
    tested = [k for k in range(len(names)) if (labels == k).any()]
    p_values = [
        mcnemar_exact(int(gained[labels == k].sum()), int(lost[labels == k].sum())) for k in tested
    ]
    classes = [
        _class(names[k], right_a[labels == k], right_b[labels == k], p, corrected)
        for k, p, corrected in zip(tested, p_values, holm(p_values), strict=True)
    ]
    sure_a, sure_b = softmax(a).max(axis=1), softmax(b).max(axis=1)

    def listed(mask: NDArray[np.bool_], surest: NDArray[np.float64]) -> tuple[Flip, ...]:
        rows = np.flatnonzero(mask) if len(keys) else np.empty(0, np.int64)
        rows = rows[np.argsort(-surest[rows], kind="stable")][:LISTED]
        return tuple(
            Flip(
                keys[i],
                names[labels[i]],
                names[said_b[i]],
                round(float(sure_b[i]), 4),
                names[said_a[i]],
                round(float(sure_a[i]), 4),
            )
            for i in rows.tolist()
        )

    return Changes(
        first=first_name,
        second=second_name,
        n=len(labels),
        lost=int(lost.sum()),
        gained=int(gained.sum()),
        moved=int((~right_a & ~right_b & (said_a != said_b)).sum()),
        needed=needed(len(tested)),
        tested=len(tested),
        smallest=min((row.n for row in classes), default=0),
        classes=tuple(
            sorted(
                (c for c in classes if c.lost or c.gained),
                key=lambda c: (c.difference, c.gained - c.lost, c.name),
            )
        ),
        right_to_wrong=listed(lost, sure_a),
        wrong_to_right=listed(gained, sure_a),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the given order: ``max over j <= i of min(1, (m - j + 1) p_(j))``, p
    sorted ascending.
    """
    m, out, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        out[i] = largest
    return out


def needed(classes: int, level: float = LEVEL) -> int:
    """Smallest number of changes, all in one direction, with ``classes * 2 / 2^n <= level``."""
    return math.ceil(math.log2(2 * max(classes, 1) / level) - 1e-12)


def _class(
    name: str, right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], p: float, corrected: float
) -> ClassChange:
    n, lost, gained = len(right_a), int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    return ClassChange(
        name,
        n,
        float(right_a.mean()),
        float(right_b.mean()),
        (gained - lost) / n,
        lost,
        gained,
        p,
        corrected,
    )
