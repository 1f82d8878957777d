"""The sections "Classes" and "Confidence": class by class, confusions, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compress.evaluate.metrics import ReliabilityBin
from compress.report.charts import accuracy as plots
from compress.report.model.report import Report
from compress.report.sections.summary import ROWS
from compress.report.wording import percent, points, variant

CONFUSED = 10  # wrong answers listed


@dataclass(frozen=True)
class ClassRow:
    """Accuracy of the shipped student and of its teacher on a class."""

    name: str
    number: int | None  # in the confusion matrix; None if the matrix has names
    value: float
    teacher: float | None
    support: int


@dataclass(frozen=True)
class Confusion:
    """A frequent wrong answer; ``share`` of the true class's images."""

    true: str
    predicted: str
    count: int
    share: float


def class_rows(report: Report) -> list[ClassRow]:
    """Every class with test images, the shipped student's weakest first."""
    names, table = report.dataset.class_names, report.per_class
    shipped = table.of(report.shipped)
    if not shipped:
        return []
    teacher = table.of("teacher") or [None] * len(names)
    numbers = [None] * len(names) if plots.named(names) else range(1, len(names) + 1)
    columns = zip(names, numbers, shipped, teacher, table.support, strict=True)
    rows = [
        ClassRow(name, number, value, reference, images)
        for name, number, value, reference, images in columns
        if value is not None
    ]
    return sorted(rows, key=lambda row: (row.value, row.name))


def class_sentence(report: Report) -> str:
    """The weakest class, and the comparison with the teacher class by class."""
    rows = class_rows(report)
    if not rows:
        return ""
    share = f"{percent(rows[0].value, 0)} of {rows[0].support} images"
    text = f"The weakest class is {rows[0].name} ({share})."
    gaps = [(row.value - row.teacher, row) for row in rows if row.teacher is not None]
    if gaps:
        gap, worst = min(gaps, key=lambda pair: pair[0])
        behind, ahead = sum(gap < 0 for gap, _ in gaps), sum(gap > 0 for gap, _ in gaps)
        if gap < 0:
            text += f" Against the teacher, {worst.name} lost most ({points(gap, 0)})."
        text += (
            f" The student is below its teacher in {behind} classes, above it in {ahead} "
            f"and level in {len(gaps) - behind - ahead}."
        )
    missing = report.dataset.classes - len(rows)
    return text + (f" {missing} classes have no test image." if missing else "")


def confusions(report: Report) -> list[Confusion]:
    """The most frequent wrong answers of the shipped student."""
    names, support = report.dataset.class_names, report.per_class.support
    wrong = [cell for cell in report.confusion.get(report.shipped, []) if cell[0] != cell[1]]
    wrong.sort(key=lambda cell: (-cell[2], cell[0], cell[1]))
    return [
        Confusion(names[true], names[predicted], count, count / support[true])
        for true, predicted, count in wrong[:CONFUSED]
    ]


def calibration_sentence(report: Report) -> str:
    """Whether the shipped student is over- or underconfident, from its reliability bins."""
    bins = report.calibration.get(report.shipped, [])
    if not any(row.count for row in bins):
        return ""
    return calibration_words(variant(report.shipped), bins, report.accuracy[report.shipped].ece)


def calibration_words(model: str, bins: Sequence[ReliabilityBin], ece: float) -> str:
    """The same of a model, at least one of whose bins holds an image."""
    gaps = [
        (row.count, row.confidence - row.accuracy)
        for row in bins
        if row.confidence is not None and row.accuracy is not None
    ]
    lean = sum(count * gap for count, gap in gaps) / sum(count for count, _ in gaps)
    way = "too sure of itself" if lean > 0 else "less sure than it could be"
    if abs(lean) < 0.01:
        way = "about as sure as it should be"
    return (
        f"On average {model} is {way}: mean confidence minus accuracy is {points(lean)}, and its "
        f"expected calibration error is {percent(ece)}. "
        "Where a bar ends on the dashed line, the confidence can be taken at its word."
    )


def confusion_plot(report: Report) -> str:
    """The confusion matrix of the shipped student."""
    shipped = report.shipped
    return plots.confusion(report.confusion[shipped], report.dataset.class_names, shipped)


def reliability_plots(report: Report) -> list[tuple[str, str, float]]:
    """Model variant, drawing and ECE."""
    eces = {name: report.accuracy[name].ece for name in ROWS if name in report.calibration}
    tables = report.calibration
    return [(name, plots.reliability(tables[name], name, ece), ece) for name, ece in eces.items()]
