"""Numbers as people read them, drawings at their extremes, bounded pictures, and the command that
repeats a run.
"""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from compress import api
from compress.engine import config
from compress.evaluate import metrics as evaluate
from compress.report import repeat, wording
from compress.report.charts import accuracy as plots
from compress.report.charts import pictures, svg


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (wording.percent(0.8912), "89.1 %"),
        (wording.percent(None), "–"),
        (wording.points(-0.012), "−1.2 points"),
        (wording.points(-0.0001), "±0.0 points"),
        (wording.points(0.0061), "+0.6 points"),
        (wording.interval([0.86, 0.91]), "86.0–91.0"),
        (wording.signed_interval([-0.012, 0.0]), "−1.2 to 0.0"),
        (wording.milliseconds(0.21342), "0.213 ms"),
        (wording.milliseconds(1179.4), "1,180 ms"),
        (wording.milliseconds(999.6), "1,000 ms"),
        (wording.size(153_400), "153 kB"),
        (wording.size(999_960), "1.00 MB"),
        (wording.size(12), "12 B"),
        (wording.count(1_640_000), "1.64 M"),
        (wording.times(0.857), "0.86×"),
        (wording.times(8.43), "8.4×"),
        (wording.times(31.2), "31×"),
        (wording.seconds(0.42), "0.4 s"),
        (wording.seconds(187.4), "3 min 07 s"),
        (wording.seconds(7400), "2 h 03 min"),
        (wording.p_value(0.00002), "< 0.001"),
        (wording.p_value(0.5), "0.50"),
        (wording.cell("a|b\n# <c>"), "a\\|b # &lt;c>"),
    ],
)
def test_numbers_read_well(made: str, expected: str) -> None:
    assert made.replace("\u202f", " ") == expected


@pytest.mark.parametrize("k", [2, 12, 33, 102, 400])
def test_confusion_is_drawn_for_any_number_of_classes(k: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(k), 5)
    predicted = np.where(rng.random(5 * k) < 0.7, labels, rng.integers(0, k, 5 * k))
    matrix = evaluate.confusion(predicted, labels, k)
    cells = [[int(t), int(p), int(matrix[t, p])] for t, p in np.argwhere(matrix)]
    drawn = plots.confusion(cells, [f"class <{i}> & co" for i in range(k)], "student_int8")
    tree = ElementTree.fromstring(drawn)
    assert sum(element.get("class") in ("right", "wrong") for element in tree.iter()) == len(cells)
    assert len(drawn) < 250 * len(cells) + 20_000


def test_accuracy_latency_survives_one_form_and_equal_forms() -> None:
    one = plots.Point("student_int8", 0.2, 1.0, (0.98, 1.0), 150_000)
    for points in ([one], [one, plots.Point("teacher", 0.2, 1.0, (0.98, 1.0), 150_000)]):
        for width in (380, 960):
            ElementTree.fromstring(plots.accuracy_latency(points, width))


def test_labels_of_near_points_do_not_cover_each_other() -> None:
    points = [
        plots.Point("teacher", 4.0, 0.90, (0.88, 0.92), 6_600_000),
        plots.Point("student_fp32", 0.30, 0.883, (0.86, 0.90), 560_000),
        plots.Point("student_int8", 0.20, 0.882, (0.86, 0.90), 170_000),
        plots.Point("student_ptq", 0.20, 0.880, (0.86, 0.90), 168_000),
    ]
    tree = ElementTree.fromstring(plots.accuracy_latency(points))
    at = [
        (float(e.get("x", 0)), float(e.get("y", 0)))
        for e in tree.iter()
        if e.get("class") == "name"
    ]
    assert len(at) == 4
    assert all(
        abs(a[1] - b[1]) >= 30 or abs(a[0] - b[0]) >= 150 for i, a in enumerate(at) for b in at[:i]
    )


def test_reliability_and_curves_survive_extremes() -> None:
    certain = evaluate.evaluate(np.array([[50.0, 0.0]] * 3), np.array([0, 0, 1]))
    ElementTree.fromstring(
        plots.reliability(certain["reliability"], "student_int8", certain["ece"])
    )
    for history in (
        [{"step": 1, "loss": 0.0}],
        [{"step": s, "loss": 100 / s, "lr": 0.1} for s in range(1, 900, 90)],
    ):
        ElementTree.fromstring(plots.curve(history, "distill"))
    ElementTree.fromstring(plots.timings({"data": 0.0}))


def test_ticks_are_round_and_inside() -> None:
    assert svg.ticks(0.83, 0.95, 5) == pytest.approx([0.84, 0.86, 0.88, 0.90, 0.92, 0.94])
    assert svg.log_ticks(0.03, 40) == pytest.approx([0.1, 1, 10])
    assert svg.log_ticks(0.15, 6) == pytest.approx([0.2, 0.5, 1, 2, 5])


@pytest.mark.parametrize(("edge", "classes"), [(32, 40), (256, 102)])
def test_pictures_stay_small_even_for_noise(edge: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(classes), 10)
    noise = rng.integers(0, 256, (12, edge, edge, 3), np.uint8)
    images = noise[np.arange(len(labels)) % 12]
    sheets = pictures.contact_sheets(
        [f"c{i}" for i in range(classes)], images, labels, images, labels
    )
    assert (
        len(sheets) == pictures.SHEET_CLASSES
        and sheets[0].name == "c0"
        and sheets[-1].name == f"c{classes - 1}"
    )
    assert all(
        sheet.real and sheet.real.count == 4 and sheet.synthetic and sheet.synthetic.count == 8
        for sheet in sheets
    )
    total = sum(len(part.uri) for sheet in sheets for part in (sheet.real, sheet.synthetic) if part)
    assert total < 2_000_000


def test_no_shots_means_no_picture() -> None:
    empty, some = np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)
    sheets = pictures.contact_sheets(["a", "b"], empty, [], some, [0, 1])
    assert sheets[0].real is None and sheets[0].synthetic is not None


def test_worst_mistakes_are_the_most_confident_ones() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.99, 0.01]])
    labels, images = np.array([1, 0, 0, 0]), np.zeros((4, 8, 8, 3), np.uint8)
    found = pictures.worst_mistakes(
        ["a", "b"], images, ["w", "x", "y", "z"], labels, probabilities, np.array([1, 1, 0, 0])
    )
    assert [(m.key, m.true, m.predicted, m.teacher) for m in found] == [
        ("w", "b", "a", "b"),
        ("x", "a", "b", "b"),
        ("y", "a", "b", "a"),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"dataset": "petals", "shots": 4},
        {"dataset": "petals", "shots": 1, "seed": 3, "preset": "smoke"},
        {"dataset": "flowers", "shots": 8, "preset": "sidclip"},
        {"dataset": "petals", "overrides": {"distill": {"lr": 1e-5}, "data": {"style": "night"}}},
        {
            "data": "/photos/my flowers",
            "shots": 2,
            "teacher": "ViT-B-32/openai",
            "student": "resnet18",
        },
        {"data": "/photos", "teacher": "petals", "offline": True},
        {"classes": ["water lily", "taco's"], "teacher": "petals"},
        {"dataset": "cifar10", "teacher": "petals", "generator": "petals"},
        {
            "dataset": "pacs",
            "overrides": {"data": {"shots": "all", "domain": "sketch", "test_domains": ["all"]}},
        },
    ],
)
def test_the_command_repeats_the_settings(options: dict[str, Any]) -> None:
    """Parsed as the command line parses it, it resolves to the very same settings."""
    settings = api.settings_for(**options)
    words = shlex.split(repeat.command(settings))
    assert words[:2] == ["compress", "build"]
    given: dict[str, Any] = {}
    assignments, rest = [], words[2:]
    while rest:
        flag = rest.pop(0).removeprefix("--")
        if flag == "offline":
            given["offline"] = True
        elif flag == "set":
            assignments.append(rest.pop(0))
        else:
            given[flag] = rest.pop(0)
    for number in ("shots", "seed"):
        if given.get(number, "all") != "all":
            given[number] = int(given[number])
    if "classes" in given:
        given["classes"] = given["classes"].split(",")
    again = api.settings_for(**given, overrides=config.parse_set(assignments))
    assert again == settings


def test_the_plain_run_has_a_plain_command() -> None:
    settings = api.settings_for("petals", shots=4)
    assert repeat.command(settings) == "compress build --shots 4 --dataset petals"


def test_the_preset_is_the_one_that_explains_most() -> None:
    assert repeat.preset(api.settings_for("petals")) == (None, 0)
    assert repeat.preset(api.settings_for("petals", preset="smoke")) == ("smoke", 0)
    changed = api.settings_for("petals", preset="smoke", overrides={"distill": {"lr": 1e-5}})
    assert repeat.preset(changed) == ("smoke", 1)
