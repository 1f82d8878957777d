"""The page of an evaluation: whole, self-contained, and harmless whatever names say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from report_page import Words

from compress.assess.matching import Match
from compress.assess.page import render_html
from compress.assess.result import Coverage, Evaluation, Mistake, cells, class_results
from compress.data.summary import KeyedReason
from compress.evaluate.metrics import ReliabilityBin, evaluate

EVIL = "<script>alert(1)</script>{{ 7 * 7 }}"


def evaluation(names: tuple[str, ...], images: int = 40, **tested: object) -> Evaluation:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, len(names), images)
    logits = rng.normal(0, 1, (images, len(names))).astype(np.float32)
    logits[np.arange(images), truth] += 1
    figures = evaluate(logits, truth)
    matrix = np.array(figures["confusion"])
    wrong = np.flatnonzero(logits.argmax(axis=1) != truth)
    mistakes = tuple(
        Mistake(f"a/{EVIL}/{i}.jpg", names[truth[i]], names[logits[i].argmax()], 0.9, 0.05)
        for i in wrong
    )
    facts: dict[str, object] = {
        "source": EVIL,
        "folder": f"/tmp/{EVIL}",
        "split": "test",
        "others": {"train": 3},
        "matched": (Match("Seerose", names[0], 0, "synonym"),),
        "unknown": {EVIL: 2},
        "ambiguous": {"crane": (names[0], names[1])},
        "without_images": (),
        "unreadable": (KeyedReason(EVIL, "damaged"),),
        "left_out": (),
        "notes": (),
        **tested,
    }
    shown = {row.path: np.full((80, 80, 3), 90, np.uint8) for row in mistakes[:24]}
    return Evaluation(
        "b",
        "int8",
        None,
        len(names),
        Coverage(**facts),  # type: ignore[arg-type]
        *(figures[key] for key in ("n", "correct", "top1")),
        tuple(figures["ci95"]),
        *(figures[key] for key in ("macro_f1", "ece", "nll")),
        tuple(ReliabilityBin(**row) for row in figures["reliability"]),
        class_results(matrix, names),
        cells(matrix, names),
        mistakes,
        shown,
    )


def test_the_page_is_whole_and_asks_for_nothing_else() -> None:
    result = evaluation(("rose", "iris", "daisy"))
    text = render_html(result)
    page = Words(text)
    assert page.open == [] and not page.all("script")
    assert not re.search(r"https?://|@import|url\((?!data:)", text)
    assert all(image["alt"] and image["src"] for image in page.all("img"))
    assert len(page.all("img")) == min(24, len(result.mistakes)) > 3
    assert all(drawing["aria-label"] for drawing in page.all("svg"))
    anchors = {attributes["id"] for _, attributes in page.found if "id" in attributes}
    assert {link["href"] for link in page.all("a")} == {f"#{name}" for name in anchors}


def test_what_names_hold_is_text() -> None:
    page = Words(render_html(evaluation((EVIL, "iris", "daisy"))))
    assert not page.all("script") and EVIL in page.words and "49" not in page.words.split()


def test_what_took_no_part_is_on_the_page() -> None:
    words = Words(render_html(evaluation(("rose", "iris")))).words
    assert "Seerose as rose (synonym)" in words
    assert "not those of train (3)" in words and "crane (rose or iris)" in words
    assert f"{EVIL} (2)" in words and "1 image could not be read" in words


def test_many_classes_and_no_mistake(tmp_path: Path) -> None:
    names = tuple(f"class number {number}" for number in range(120))
    page = Words(render_html(evaluation(names, 400)))
    assert page.open == [] and "the other" in page.words and "class number 119" in page.words
    perfect = evaluation(("rose", "iris"), 1)
    assert not perfect.mistakes
    assert "No image is named wrong" in Words(render_html(perfect)).words
