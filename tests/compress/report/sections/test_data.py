"""The section about the data: sentences, lists and the map."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from html import escape
from typing import Any

import pytest
from report_parts import SMALLEST, report_with

from compress.report.charts.map import MOST_NAMED
from compress.report.model.report import Report
from compress.report.page import Material, render_html, render_markdown
from compress.report.sections import data

EVIL = "<b>x</b>|"


def summary(**parts: Any) -> dict[str, Any]:
    counts = {"found": {"train": 9, "test": 3}, "used": {"shots": 4, "test": 3}}
    classes = [{"name": name, "prompt": name, **counts} for name in ("a", EVIL)]
    return {"name": "garden", "classes": classes, "measured": "test", **parts}


def report_of(points: int = 8, classes: int = 2, **parts: Any) -> Report:
    names = ["a", EVIL, *(f"class {number}" for number in range(2, classes))]
    dataset = {**SMALLEST["dataset"], "classes": classes, "class_names": names}
    seen = {
        "summary": summary(),
        "judged": points,
        "map": [
            {"key": f"{EVIL}{i}.jpg", "label": i % classes, "x": i / points, "y": i % 3 / 3}
            for i in range(points)
        ],
        **parts,
    }
    return report_with(dataset=dataset, images=seen)


def doubts(count: int) -> list[dict[str, Any]]:
    return [
        {"key": f"{EVIL}{i}.jpg", "label": "a", "nearest": EVIL, "margin": 0.5}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("judged", "count", "said"),
    [
        (None, 0, ""),
        (0, 0, "No label could be compared"),
        (8, 0, "None of 8 training images"),
        (8, 1, "1 of 8 training images is nearer"),
        (8, 2, "2 of 8 training images are nearer"),
        (8, 3, "it is the teacher that hardly tells"),
    ],
)
def test_what_is_said_of_labels_in_doubt(judged: int | None, count: int, said: str) -> None:
    sentence = data.relabel_sentence(report_of(judged=judged, relabel=doubts(count)))
    assert said in sentence and bool(sentence) == bool(said)
    assert ("hardly" in sentence) == (count == 3)


@pytest.mark.parametrize("measured", ["test", "held out", "nothing"])
def test_what_accuracy_is_measured_on(measured: str) -> None:
    report = report_of(summary=summary(measured=measured))
    assert data.MEASURED[measured] in data.found_sentence(report)
    said = data.found_sentence(report)
    assert "garden: 2 classes, 8 shots in all, 6 test (18 in train, 6 in test" in said
    assert ("6 of them held out for testing)" in said) == (measured == "held out")


def test_every_list_of_the_summary_is_shown_with_its_length() -> None:
    images = [{"set": "shots", "key": "1.jpg", "name": "a"}, {"set": "test", "key": "2.jpg"}]
    images[1]["name"] = "b"
    found = summary(
        skipped=[{"key": "bad.jpg", "reason": "no image"}],
        repaired=[{"key": "cut.jpg", "reason": "cut short"}],
        renamed=[{"folder": "x", "name": "y", "why": "classes.yaml"}],
        copies=[{"kind": "near", "images": images}],
        not_used=["3.jpg"],
        empty={"oak": "an empty folder"},
        unknown={"ash": 2},
        left_out=["notes.txt"],
    )
    report = report_of(summary=found, totals={"left_out": 99})
    page = render_html(report, Material())
    for text in (
        "images that could not be read: 1",
        "bad.jpg",
        "images mended in memory: 1",
        "cut short",
        "y (classes.yaml)",
        "1.jpg (a) ~ 2.jpg (b)",
        "in two classes: a label may be wrong; in training and test",
        "an empty folder",
        "2 images",
        "images of a class: 99",
        "and 98 more",
    ):
        assert text in page, text
    assert "- classes without a training image: 1, e.g. oak" in render_markdown(report)


def test_the_map_is_drawn_for_any_number_of_classes_and_escapes_names() -> None:
    for classes in (2, MOST_NAMED, MOST_NAMED + 1):
        report = report_of(60, classes, relabel=doubts(2))
        for _, drawing in data.map_plots(report):
            tree = ElementTree.fromstring(drawing)
            kinds = [element.get("class") for element in tree.iter("circle")]
            assert kinds.count("dot") == 58 and kinds[-2:] == ["dot doubt"] * 2
            named = list(tree.iter("text"))
            assert len(named) == (classes if classes <= MOST_NAMED else 0)
    page = render_html(report, Material())
    assert "<b>x</b>" not in page and escape(f"0.jpg: a, like {EVIL}") in page


def test_a_report_without_the_part_has_no_section() -> None:
    report = report_with()
    assert data.map_plots(report) == [] and data.listings(report) == []
    assert '<section id="data">' not in render_html(report, Material())
    assert '<section id="data">' in render_html(report_of(0), Material())
