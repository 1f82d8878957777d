"""The sections "Images" and "Probing": the training images, and the generator's candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compress.generate.strategies.table import STRATEGIES
from compress.report.model.build import Probe
from compress.report.model.report import Report
from compress.report.wording import distance, percent, plural


def images_sentence(report: Report, shown: int) -> str:
    """The number and origin of real and synthetic images, and of ``shown`` classes."""
    synthetic, data = report.synthetic, report.dataset
    real = "No real image"
    if data.shots == "all":
        real = f"All {data.train_images:,} real training images"
    elif data.shots:
        real = f"{plural(data.shots, 'real image')} a class"
    text = f"{real}, and no synthetic ones."
    if synthetic.images:
        how = f"by {synthetic.generator} " if synthetic.generator else ""
        how += f"(strategy {synthetic.strategy})"
        text = f"{real}, and {synthetic.images:,} synthetic images {how}."
        if not _shows_classes(report):
            text += f" {STRATEGIES[str(synthetic.strategy)].purpose}"
        elif synthetic.teacher_agreement is not None:
            share = percent(synthetic.teacher_agreement, 0)
            text += f" The teacher assigns {share} of them to their intended class."
        if synthetic.dropped:
            text += f" {synthetic.dropped:,} were dropped because it does not."
    if 0 < shown < data.classes:
        text += f" Shown: {shown} of {data.classes} classes."
    return text


def diversity_sentence(report: Report) -> str:
    """The teacher's view of the training images: their variety, and the gap to real ones."""
    synthetic = report.synthetic
    values = {"synthetic": synthetic.diversity, "real": synthetic.diversity_real}
    known = {kind: distance(value) for kind, value in values.items() if value is not None}
    if not known or not _shows_classes(report):
        return ""
    means = " and ".join(f"{mean} between two {kind} images" for kind, mean in known.items())
    text = "In the teacher's eyes (1 − cosine of features), the mean difference within a class "
    text += f"is {means}"
    if synthetic.domain_gap is not None:
        text += f"; between the class means of both it is {distance(synthetic.domain_gap)}"
    return f"{text}."


def _shows_classes(report: Report) -> bool:
    row = STRATEGIES.get(str(report.synthetic.strategy))
    return row is None or row.shows_classes


def candidate(row: Probe) -> str:
    """The settings of a probe, and why it failed."""
    named = ", ".join(f"{name} = {value}" for name, value in _flat(row.candidate))
    named = named or "as configured"
    return f"{named} (refused: {row.refused.partition(' · ')[0]})" if row.refused else named


def _flat(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
