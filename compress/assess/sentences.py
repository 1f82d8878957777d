"""The sentences and rows that the page and the terminal share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compress.assess.result import ClassResult, Evaluation
from compress.evaluate.claims import too_few
from compress.report.sections.classes import CONFUSED, Confusion
from compress.report.wording import interval, percent, plural

MOST_SHOWN = 8  # names in a sentence


def headline(result: Evaluation) -> str:
    """The one sentence to remember, and a second one if the images are too few for it."""
    tested = result.labels - len(result.tested.without_images)
    images = f"{plural(result.n, 'image')} of {result.tested.source}"
    text = f"{result.precision} names {percent(result.top1)} of {images} right"
    if tested < result.labels:
        text += f"; they are of {tested} of its {result.labels} labels"
    if unreadable := len(result.tested.unreadable):
        text += f"; {plural(unreadable, 'more image')} cannot be read"
    few = too_few(result.n)
    return f"{text}. {few}." if few else f"{text}."


def trained_on(result: Evaluation) -> str:
    """How many images the build took as shots, and the accuracy on the others; "" if none."""
    new, shots = result.new, result.tested.trained_on
    if new is None or not shots:
        return ""
    was = "was a shot" if len(shots) == 1 else "were shots"
    text = f"{plural(len(shots), 'image')} of these {was} of this bundle's build, not new to it"
    if not new["n"]:
        return f"{text}: this says nothing of its accuracy on new images"
    others = f"{percent(new['top1'])} of the other {new['n']:,} (95 % CI {interval(new['ci95'])})"
    return f"{text}; it names {others} right"


def weakest_first(result: Evaluation) -> list[ClassResult]:
    """The labels with images, the weakest first."""
    rows = [row for row in result.per_class if row.recall is not None]
    return sorted(rows, key=lambda row: (row.recall or 0.0, row.label))


def confusions(result: Evaluation) -> list[Confusion]:
    """The commonest wrong answers."""
    sizes = {row.label: row.n for row in result.per_class}
    wrong = sorted(
        (cell for cell in result.confusion if cell[0] != cell[1]), key=lambda cell: -cell[2]
    )
    return [Confusion(true, said, n, n / sizes[true]) for true, said, n in wrong[:CONFUSED]]


def remarks(result: Evaluation) -> list[str]:
    """What took no part, was read as another name or left out, a line each."""
    tested = result.tested
    used = f"the images of {tested.split}/" if tested.split else "all images that can be read"
    split = f"{used} are used"
    if tested.others:
        split += f"; not those of {_counted(tested.others)} (--split takes another)"
    lines = [split, *tested.notes]
    others = [one for one in tested.matched if one.by != "name"]
    if others:
        pairs = _few(f"{one.name} as {one.label} ({one.by})" for one in others)
        lines.append(f"matched with a label by other words: {pairs}")
    if tested.unknown:
        what = "classes that are no label of the bundle, so that their images are not used"
        lines.append(f"{what}: {_counted(tested.unknown)}")
    if tested.ambiguous:
        each = (f"{name} ({' or '.join(fits)})" for name, fits in tested.ambiguous.items())
        lines.append(f"classes that fit several labels, not used: {_few(each)}")
    if tested.without_images:
        number = plural(len(tested.without_images), "label")
        lines.append(f"{number} of the bundle without images: {_few(tested.without_images)}")
    if tested.left_out:
        lines.append(f"left out, since they are no images of a class: {_few(tested.left_out)}")
    return lines


def _counted(counts: Mapping[str, int]) -> str:
    return _few(f"{name} ({count:,})" for name, count in counts.items())


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MOST_SHOWN} more" if len(listed) > MOST_SHOWN else ""
    return ", ".join(listed[:MOST_SHOWN]) + more
