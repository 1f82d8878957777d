"""An evaluation as one self-contained page in the style of the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.assess import sentences
from compress.assess.result import Evaluation, Mistake
from compress.engine.versions import versions
from compress.report.charts import accuracy as plots
from compress.report.charts.pictures import EXACT_EDGE, Picture, strip
from compress.report.model.report import student_variant
from compress.report.page import environment, style
from compress.report.sections.classes import calibration_words
from compress.report.sections.headline import Tile
from compress.report.wording import interval, percent
from runtime.files.paths import line

TEMPLATES = Path(__file__).with_name("templates")
ROWS = 24  # classes that are shown unfolded
LISTED = 200  # further mistakes, unreadable images and the like; evaluation.json has all


@dataclass(frozen=True)
class ShownMistake:
    """A mistake with its picture."""

    mistake: Mistake
    picture: Picture


def render_html(result: Evaluation) -> str:
    """One page that asks for nothing else."""
    template = environment(True, TEMPLATES).get_template("evaluation.html.j2")
    shown = [
        ShownMistake(row, _picture(result, row))
        for row in result.mistakes
        if row.path in result.thumbnails
    ]
    edge = next(iter(result.thumbnails.values())).shape[0] if shown else EXACT_EDGE
    rows = sentences.weakest_first(result)
    return template.render(
        result=result,
        variant=student_variant(result.precision),
        style=style(),
        headline=sentences.headline(result),
        tiles=_tiles(result),
        rows=rows[:ROWS],
        other_rows=rows[ROWS:],
        shown=shown,
        further=result.mistakes[len(shown) : len(shown) + LISTED],
        exact=edge <= EXACT_EDGE,
        confusion=_confusion(result),
        numbers=_numbers(result),
        confusions=sentences.confusions(result),
        reliability=plots.reliability(
            result.reliability, student_variant(result.precision), result.ece
        ),
        calibration=calibration_words(result.precision, result.reliability, result.ece),
        trained_on=sentences.trained_on(result),
        remarks=sentences.remarks(result),
        listed=LISTED,
        version=versions().get("clip2edge", ""),
    )


def _tiles(result: Evaluation) -> list[Tile]:
    bad = len(result.tested.unreadable)
    return [
        Tile("accuracy", percent(result.top1), f"95 % CI {interval(result.ci95)}"),
        Tile("macro F1", percent(result.macro_f1), "mean over classes"),
        Tile("calibration error", percent(result.ece), "ECE: confidence against accuracy"),
        Tile(
            "images",
            f"{result.n:,}",
            f"{result.correct:,} right, {len(result.mistakes):,} wrong"
            + (f", {bad:,} unreadable" if bad else ""),
        ),
    ]


def _picture(result: Evaluation, row: Mistake) -> Picture:
    alt = line(f"image of {row.true}, taken for {row.predicted}")
    return strip(result.thumbnails[row.path][None], alt)


def _confusion(result: Evaluation) -> str:
    """The matrix of the labels that have images or answers."""
    names = [row.label for row in result.per_class]
    place = {name: k for k, name in enumerate(names)}
    cells = [(place[true], place[said], count) for true, said, count in result.confusion]
    return plots.confusion(cells, names, student_variant(result.precision))


def _numbers(result: Evaluation) -> dict[str, int]:
    """The number of each label in a matrix that has no room for names."""
    names = [row.label for row in result.per_class]
    return {} if plots.named(names) else {name: k for k, name in enumerate(names, 1)}
