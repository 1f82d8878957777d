"""What came of an evaluation: figures, the table of classes, mistakes, and what took no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from compress.assess.matching import Match
from compress.data.summary import Copies, KeyedReason
from compress.evaluate.metrics import ReliabilityBin
from runtime.files.strict_json import to_text

KIND = "clip2edge-evaluation"
SCHEMA = 1


@dataclass(frozen=True)
class ClassResult:
    """A label with test images or answers; what is not defined is None.

    Attributes:
        n: its images.
        answers: images of any class that got it.
        recall: share of its images that got it: the accuracy of the class.
        taken_for: the commonest wrong answer to its images.
    """

    label: str
    n: int
    answers: int
    recall: float | None
    precision: float | None
    f1: float
    taken_for: str | None


@dataclass(frozen=True)
class Mistake:
    """A wrong answer; probabilities of the answer and of the true label."""

    path: str
    true: str
    predicted: str
    confidence: float
    true_probability: float


@dataclass(frozen=True)
class Coverage:
    """Which images were classified, and which took no part.

    Attributes:
        split: of the folder; "" if it has none.
        others: images of further splits.
        matched: the label of every class that has one.
        unknown: class -> images, of classes that are no label of the bundle.
        ambiguous: class -> the labels that it could be.
        without_images: labels of the bundle that no image has.
        equal: groups of images with the same pixels.
        trained_on: images that the build took as shots; None: its run is not at hand to tell.
    """

    source: str
    folder: str
    split: str
    others: Mapping[str, int]
    matched: tuple[Match, ...]
    unknown: Mapping[str, int]
    ambiguous: Mapping[str, tuple[str, ...]]
    without_images: tuple[str, ...]
    unreadable: tuple[KeyedReason, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    trained_on: tuple[str, ...] | None = None
    equal: tuple[Copies, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """A bundle's model on labeled images.

    Attributes:
        top1: fraction of n images; ``ci95`` its 95 % Wilson interval.
        new: the same of those images that the build did not train on, if it did on some of them:
            ``n``, ``correct``, ``top1`` and ``ci95``.
        per_class: labels with images or answers, in the order of the bundle.
        confusion: (true label, predicted label, images) of every cell that is not zero.
        mistakes: all wrong answers, the surest first.
        thumbnails: path -> uint8 (S, S, 3), what the model saw, of the first mistakes.
    """

    bundle: str
    precision: str
    sha256: str | None
    labels: int
    tested: Coverage
    n: int
    correct: int
    top1: float
    ci95: tuple[float, float]
    macro_f1: float
    ece: float
    nll: float
    reliability: tuple[ReliabilityBin, ...]
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[str, str, int], ...]
    mistakes: tuple[Mistake, ...]
    thumbnails: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    new: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values: all but the thumbnails."""
        values = asdict(self)
        del values["thumbnails"]
        return {"kind": KIND, "schema": SCHEMA, **values}

    def to_text(self) -> str:
        """The same as indented JSON."""
        return to_text(self.to_json(), indent=1, ensure_ascii=False)


def class_results(matrix: np.ndarray, names: Sequence[str]) -> tuple[ClassResult, ...]:
    """The table of classes from counts (K, K), row = true label."""
    rows = []
    for k, name in enumerate(names):
        n = int(matrix[k].sum())
        answers = int(matrix[:, k].sum())
        if not n and not answers:
            continue
        right = int(matrix[k, k])
        wrong = matrix[k].copy()
        wrong[k] = 0
        rows.append(
            ClassResult(
                name,
                n,
                answers,
                right / n if n else None,
                right / answers if answers else None,
                2 * right / (n + answers),
                names[int(wrong.argmax())] if wrong.any() else None,
            )
        )
    return tuple(rows)


def cells(matrix: np.ndarray, names: Sequence[str]) -> tuple[tuple[str, str, int], ...]:
    """The cells of a confusion matrix that are not zero."""
    return tuple(
        (names[true], names[predicted], int(matrix[true, predicted]))
        for true, predicted in np.argwhere(matrix).tolist()
    )
