"""The size table of a paper: parameters and operations, counted from shapes, not typed.

A row is measured as its own settings say: a teacher with both towers, or a student with its
classifier and no text. Nothing is built, loaded or downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.cost.counting import Counted
from compress.cost.networks import count_student, count_teacher
from compress.data.datasets.catalog import dataset as known_dataset
from compress.engine.config import Settings
from compress.engine.errors import ConfigError
from compress.papers.reproduce import TablePlan

COLUMNS = ("image M", "text M", "total M", "image G", "text G", "total G")
SIZES = "sizes"  # the dataset of printed sizes


def size_cells(plan: TablePlan) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table, the printed figure beside each count."""
    printed = plan.paper.printed.get(SIZES, {})
    head = ["row"]
    for column in COLUMNS:
        head += [column, "printed"]
    rows = []
    for row in plan.rows:
        settings = plan.settings(row, plan.datasets[0], plan.shots[0], 0, Path())
        is_teacher = plan.paper.answer(row) == "teacher"
        counts = teacher_size(settings) if is_teacher else student_size(settings)
        told = printed.get(row, ())
        figures = told if isinstance(told, tuple) else (told,)
        cells = [row]
        for place, count in enumerate(counts):
            figure = figures[place] if place < len(figures) else None
            cells += [f"{count:.2f}", "-" if figure is None else f"{figure:g}"]
        rows.append(cells)
    return head, rows


def student_size(settings: Settings) -> Sequence[float]:
    """Of the trunk and a linear classifier over the dataset's classes, as ``COLUMNS``."""
    trunk = count_student(settings.distill, settings.image)
    classes = known_dataset(str(settings.data.dataset)).classes
    head = Counted(2 * trunk.width * classes, (trunk.width + 1) * classes)
    return _columns(Counted(trunk.flops + head.flops, trunk.params + head.params), Counted(0, 0))


def teacher_size(settings: Settings) -> Sequence[float]:
    """Of both towers, as ``COLUMNS``; ConfigError for one that cannot be counted."""
    counts = count_teacher(settings.teacher.name)
    if counts is None:
        raise ConfigError("this teacher's size cannot be counted", got=settings.teacher.name)
    image, text = counts.image, counts.text
    if text is None:
        return _columns(image, Counted(0, 0))
    return _columns(image, Counted(text.flops, text.params - image.params))  # its is the whole CLIP


def _columns(image: Counted, text: Counted) -> Sequence[float]:
    params = [image.params / 1e6, text.params / 1e6]
    flops = [image.flops / 1e9, text.flops / 1e9]
    return [*params, sum(params), *flops, sum(flops)]
