"""Text of a user in the report: every character is shown, none of it acts."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
from drawn_shapes import NAMES
from finished_runs import Finished
from hostile_names import HOSTILE_NAMES, renamed
from markdown_it import MarkdownIt
from report_page import Page, Words

from compress.report.charts.pictures import Mistake, Sheet, strip
from compress.report.model import report as model
from compress.report.page import Material, render_html, render_markdown, without_markup
from compress.report.sections.summary import summary_table


def material(names: tuple[str, ...]) -> Material:
    picture = strip(np.zeros((1, 8, 8, 3), np.uint8), f"shots of {names[0]}")
    sheets = [Sheet(name, picture, picture) for name in names]
    mistakes = [Mistake(picture, f"{name}/1.png", name, name, 0.5, name) for name in names]
    return Material(sheets, mistakes, 8)


@pytest.fixture
def hostile(finished: Finished) -> model.Report:
    ordinary = finished.report["dataset"]["class_names"]
    names = dict(zip(ordinary, HOSTILE_NAMES, strict=False))
    plain = renamed(copy.deepcopy(finished.report), names)
    assert isinstance(plain, dict)
    plain["dataset"]["name"] = HOSTILE_NAMES[1]
    plain["student"]["name"] = HOSTILE_NAMES[0]
    plain["teacher"]["name"] = HOSTILE_NAMES[2]
    plain["states"] = list(HOSTILE_NAMES)
    for row in plain["images"]["summary"]["classes"]:
        row["prompt"] = row["name"]
    return model.parse(plain)


def tags(page: Page) -> Counter[tuple[str, tuple[str, ...]]]:
    return Counter((name, tuple(sorted(attributes))) for name, attributes in page.found)


def test_the_elements_of_the_page_do_not_depend_on_the_names(
    finished: Finished, hostile: model.Report
) -> None:
    page = Words(render_html(hostile, material(HOSTILE_NAMES)))
    ordinary = [*NAMES, *(f"class {n}" for n in range(len(HOSTILE_NAMES) - len(NAMES)))]
    plain = copy.deepcopy(finished.report)
    plain["states"] = [f"state {number}" for number in range(len(HOSTILE_NAMES))]
    expected = Page(render_html(model.parse(plain), material(tuple(ordinary))))
    differing = tags(page) - tags(expected)
    drawn = {"span", "text", "tspan", "rect", "line", "g", "title"}
    assert {name for name, _ in differing} <= drawn
    assert not any(key.startswith("on") for _, attributes in page.found for key in attributes)
    assert "script" not in {name for name, _ in page.found}
    assert {attributes["src"][:11] for attributes in page.all("img")} == {"data:image/"}
    assert not page.open
    for name in HOSTILE_NAMES[:10]:
        assert name in page.words, name


def test_what_turns_text_around_is_written_out(hostile: model.Report) -> None:
    for text in (render_html(hostile, Material()), render_markdown(hostile)):
        assert not set(text) & set("\u2028\u2029\u202e\u202c\x1b\x07")


def test_the_markdown_holds_no_html_link_or_picture_of_a_name(hostile: model.Report) -> None:
    text = render_markdown(hostile)
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    page = Page(f"<div>{rendered}</div>")
    assert not {"script", "img", "a", "b"} & {name for name, _ in page.found}


def test_ordinary_markdown_is_left_alone() -> None:
    text = "| p | < 0.001 |\n**a** < b, [x] (y)\n\n```\ncompress --classes '<a>,[b](c)'\n```\n"
    assert without_markup(text) == text
    assert without_markup("<a>[b](c)") == "&lt;a>[b]\\(c)"


def test_a_terminal_shows_names_that_look_like_its_markup(hostile: model.Report) -> None:
    from rich.console import Console

    console = Console(width=400, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(hostile))
    assert HOSTILE_NAMES[1] in console.export_text()
