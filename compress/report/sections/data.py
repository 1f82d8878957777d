"""The section "Data": what was found, the map of the images, and what one would relabel first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from compress.data.summary import ClassSummary, Copies, DataSummary
from compress.report.charts.map import image_map
from compress.report.charts.svg import both_widths
from compress.report.images import LISTED
from compress.report.model.report import Report
from compress.report.wording import plural, spaced

SHOWN = 40  # rows of a list; report.json has more, summary.json all
MEASURED = {
    "test": "Accuracy is measured on test images of their own.",
    "held out": "Accuracy is measured on a part of every class that was held out (fixed seed).",
    "nothing": "No image was left for testing, so no accuracy is measured.",
}
SIGNS = {"equal": " = ", "near": " ~ "}
CLEAR = 12  # labels in doubt that are shown with their pictures


class Row(NamedTuple):
    """A line of a list: what it is about, and what is said of it."""

    what: str
    why: str


@dataclass(frozen=True)
class Listing:
    """A list of the section; ``total`` counts the rows that are not shown too."""

    title: str
    rows: tuple[Row, ...]
    total: int


def found_sentence(report: Report) -> str:
    """How many images of how many classes were used, and what accuracy is measured on."""
    images = report.images
    if images is None:
        return ""
    first = images.summary.lines[0]
    return f"{first}. {MEASURED[images.summary.measured]}"


def columns(summary: DataSummary) -> tuple[list[str], list[str]]:
    """The splits that were found and the sets that were used, in their order."""
    found = dict.fromkeys(name for row in summary.classes for name in row.found)
    used = dict.fromkeys(name for row in summary.classes for name in row.used)
    return list(found), list(used)


def words(row: ClassSummary) -> str:
    """What a prompt says of a class, if it is not its name."""
    return "" if row.prompt in (row.name, spaced(row.name)) else row.prompt


def has_words(summary: DataSummary) -> bool:
    """Whether a prompt says anything else than the name of a class."""
    return any(map(words, summary.classes))


def is_uneven(summary: DataSummary) -> bool:
    """Whether the classes differ in what was used of them, or in what a prompt says."""
    counts = {tuple(row.used.values()) for row in summary.classes}
    return len(counts) > 1 or has_words(summary)


def listings(report: Report) -> list[Listing]:
    """What was skipped, repaired, renamed, found twice, or takes no part."""
    images = report.images
    if images is None:
        return []
    summary, totals = images.summary, images.totals
    copies = [
        Row(
            SIGNS[group.kind].join(f"{image.key} ({image.name})" for image in group.images),
            _copies_why(group),
        )
        for group in summary.copies
    ]
    lists = {
        "skipped": (
            "images that could not be read",
            [Row(row.key, row.reason) for row in summary.skipped],
        ),
        "repaired": (
            "images mended in memory",
            [Row(row.key, row.reason) for row in summary.repaired],
        ),
        "renamed": (
            "folders whose class has another name",
            [Row(row.folder, f"{row.name} ({row.why})") for row in summary.renamed],
        ),
        "copies": ("groups of equal (=) or nearly equal (~) images", copies),
        "not_used": (
            "training images that are not used, since test images are nearly the same",
            [Row(key, "") for key in summary.not_used],
        ),
        "empty": (
            "classes without a training image",
            [Row(name, why) for name, why in summary.empty.items()],
        ),
        "unknown": (
            "classes of the test split without a training folder, not used",
            [Row(name, plural(count, "image")) for name, count in summary.unknown.items()],
        ),
        "left_out": (
            "files and folders that are no images of a class",
            [Row(key, "") for key in summary.left_out],
        ),
    }
    return [
        Listing(title, tuple(rows[:SHOWN]), totals.get(name, len(rows)))
        for name, (title, rows) in lists.items()
        if rows
    ]


def _copies_why(group: Copies) -> str:
    wrong = "one label is wrong" if group.kind == "equal" else "a label may be wrong"
    parts = [f"in two classes: {wrong}"] if group.in_two_classes else []
    return "; ".join([*parts, *(["in training and test"] if group.in_train_and_test else [])])


def map_plots(report: Report) -> list[tuple[str, str]]:
    """The map for wide and narrow pages; empty without the teacher's features."""
    images = report.images
    if images is None or len(images.map) < 2:
        return []
    doubted = {row.key for row in images.relabel[:CLEAR]}
    names = report.dataset.class_names
    return both_widths(lambda width: image_map(images.map, names, doubted, width))


def relabel_sentence(report: Report) -> str:
    """How many labels the teacher's features doubt, and how far that goes."""
    images = report.images
    if images is None or images.judged is None:
        return ""
    if not images.judged:
        return (
            "No label could be compared with the teacher's features: that takes two classes, and "
            "two images of one."
        )
    count = len(images.relabel)
    of = f"of {plural(images.judged, 'training image')}"
    if not count:
        return f"None {of} is nearer to the mean of another class than to that of its own."
    number = f"{count} or more" if count >= LISTED else str(count)
    are, own = ("is", "its") if count == 1 else ("are", "their")
    text = (
        f"{number} {of} {are} nearer to the mean of another class than to that of {own} own, in "
        "the teacher's features and without the image itself; the clearest first. One whose "
        "picture shows the other class is labeled wrong."
    )
    if 4 * count > images.judged:
        text += " With so many, it is the teacher that hardly tells these classes apart."
    return text


def outlier_sentence(report: Report) -> str:
    """How many images are like no other of their class."""
    images = report.images
    if images is None or not images.outliers:
        return ""
    count = len(images.outliers)
    return (
        f"{plural(count, 'image')} {'is' if count == 1 else 'are'} unusually far from the mean of "
        "the class (modified z-score above 3.5, cosine below 0.5): other things, or another class."
    )
