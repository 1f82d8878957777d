"""What is said of the training images: what they show, and nothing of those that show no class."""

from __future__ import annotations

import pytest
from report_parts import report_with

from compress.report.sections.images import diversity_sentence, images_sentence

GENERATED = {
    **{"images": 128, "per_class": 64, "generator": "petals", "teacher_agreement": 0.5},
    **{"diversity": 0.176, "diversity_real": None},
}


@pytest.mark.parametrize("strategy", ["sidclip", "one of a later version"])
def test_generated_images_show_a_class_and_differ(strategy: str) -> None:
    report = report_with(synthetic={**GENERATED, "strategy": strategy})
    assert "of them to their intended class" in images_sentence(report, 0)
    assert "0.176 between two synthetic images" in diversity_sentence(report)


def test_dead_leaves_show_none() -> None:
    report = report_with(synthetic={**GENERATED, "strategy": "dead-leaves"})
    text = images_sentence(report, 0)
    assert "show no class" in text and "assigns" not in text
    assert diversity_sentence(report) == ""
