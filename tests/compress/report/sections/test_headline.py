"""The headline says what its own statistics support, and is a sentence in every case."""

from __future__ import annotations

from typing import Any

import pytest
from report_devices import row
from report_parts import report_with

from compress.evaluate.comparison import mcnemar_exact, score_interval
from compress.report.model.report import Report
from compress.report.page import Material, render_html, render_markdown
from compress.report.sections.headline import headline, images_tested, measured_on, stand_in, tiles


def accuracy(top1: float, n: int) -> dict[str, Any]:
    return {
        "n": n,
        "correct": round(top1 * n),
        "top1": top1,
        "ci95": [max(top1 - 0.05, 0.0), min(top1 + 0.05, 1.0)],
        "macro_f1": top1,
        "ece": 0.1,
        "nll": 0.5,
        "reliability": [],
        "per_class": [],
        "confusion": [],
    }


def compared(only_a: int, only_b: int, n: int) -> Report:
    """A report of a student that alone is right on ``only_a`` of n test images."""
    pair = {
        "n": n,
        "agreement": 0.9,
        "only_a": only_a,
        "only_b": only_b,
        "mcnemar_p": mcnemar_exact(only_a, only_b),
        "difference": (only_a - only_b) / n,
        "ci95": list(score_interval(only_a, only_b, n)),
    }
    teacher = 0.5
    return report_with(
        dataset={"name": "d", "classes": 1, "shots": 1, "test_images": n, "class_names": ["a"]},
        accuracy={
            "teacher": accuracy(teacher, n),
            "student_int8": accuracy(teacher + (only_a - only_b) / n, n),
        },
        paired={"int8_vs_teacher": pair},
        size_bytes={"teacher": 32_800_000, "student_int8": 3_640_000},
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((30, 4, 260), "10 points above its teacher's accuracy."),
        ((4, 17, 1300), "1 point below its teacher's accuracy."),
        ((12, 5, 120), "in accuracy the test images do not tell it from its teacher."),
        ((0, 0, 120), "in accuracy the test images do not tell it from its teacher."),
        ((2, 0, 8), "8 test images are too few to compare its accuracy with the teacher's."),
    ],
)
def test_a_difference_is_claimed_only_where_the_interval_excludes_zero(
    counts: tuple[int, int, int], said: str
) -> None:
    sentence = headline(compared(*counts))
    assert sentence.endswith(f"; {said}")
    assert f"of {counts[2]:,} test images right, in 3.64\u202fMB: 9.0× smaller" in sentence


def test_without_test_images_it_still_is_a_sentence() -> None:
    report = report_with(
        speedup_vs_teacher={"p50": 7.6, "ci95": [7.4, 7.8]},
        size_bytes={"teacher": 32_800_000, "student_int8": 3_590_000},
    )
    assert headline(report) == (
        "small (int8) takes 3.59\u202fMB: 7.6× as fast as its teacher and 9.1× smaller. "
        "Without test images its accuracy is not known."
    )
    assert tiles(report)[0].value == "not known"


def test_a_student_larger_than_its_teacher_is_not_called_smaller() -> None:
    sizes = {"teacher": 2_750_000, "student_int8": 3_600_000}
    report = report_with(speedup_vs_teacher={"p50": 4.8, "ci95": [4.7, 4.9]}, size_bytes=sizes)
    assert "4.8× as fast as its teacher and 1.31× larger." in headline(report)


def teacher(*names: str) -> Report:
    """A report with these teachers."""
    none = {"params": None, "top1": None, "zero_shot_top1": None}
    members = [{"name": name} for name in names] if len(names) > 1 else []
    return report_with(teacher={"name": " + ".join(names), **none, "members": members})


def test_a_stand_in_for_clip_is_named_under_the_headline() -> None:
    lites = [f"timm:tf_efficientnet_lite{n}" for n in (0, 2)]
    drawn, photos = stand_in(teacher("petals")), stand_in(teacher(*lites))
    assert "drawn miniature" in drawn and "ImageNet" in photos
    assert stand_in(teacher("ViT-L-14/openai")) == ""
    assert stand_in(teacher(lites[0], "ViT-L-14/openai")) == ""
    for report, said in ((teacher("petals"), drawn), (teacher(*lites), photos)):
        assert said in render_html(report, Material()) and said in render_markdown(report)
    assert "stand-in" not in render_html(teacher("ViT-L-14/openai"), Material()).lower()


def test_drawn_images_are_not_called_real() -> None:
    data = {"classes": 1, "shots": 1, "test_images": 1280, "class_names": ["a"]}
    assert (
        images_tested(report_with(dataset={"name": "petals", **data})) == "1,280 drawn test images"
    )
    assert images_tested(report_with(dataset={"name": "flowers", **data})) == "1,280 test images"


def test_latency_names_where_and_when_it_was_measured() -> None:
    timed = row("student", "int8", 0.1, None)
    place = {"cpu": "Cortex-A76", "date": "2026-11-30T08:00:00+00:00"}
    report = report_with(latency=[timed], environment=place)
    assert measured_on(report) == f"{timed['threads']} thread, Cortex-A76, 2026-11-30"
    assert measured_on(report) in tiles(report)[2].note
    assert measured_on(report_with()) == ""
