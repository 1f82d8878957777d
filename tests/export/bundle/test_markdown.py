"""Names in a card: ordinary ones as they are, others as text, and back again."""

from __future__ import annotations

import pytest
from hostile_names import HOSTILE_NAMES
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from provenance import provenance
from report_page import Words

from compress.data.datasets import names
from export.bundle.card import model_card
from export.bundle.markdown import code, markdown_text, plain_text


def rendered(markdown: str) -> Words:
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Words(f"<div>{html.render(markdown)}</div>")


@pytest.mark.parametrize("name", [*names.CALTECH101.values(), *names.EUROSAT.values(), "rosé-1.5"])
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert markdown_text(name) == name


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_text_in_the_card(name: str) -> None:
    card = model_card(provenance(), [name, "iris"], [])
    usual = rendered(model_card(provenance(), ["rose", "iris"], []).split("---\n", 2)[2])
    page = rendered(card.split("---\n", 2)[2])
    assert [tag for tag, _ in page.found] == [tag for tag, _ in usual.found]
    assert "<script" not in card and "<img" not in card and "{{" not in card.split("## Use")[0]
    if name.isprintable() and "_" not in name:
        assert f"Classes: {name}, iris." in page.words


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_the_text_comes_back(text: str) -> None:
    assert plain_text(markdown_text(text)) == text


def test_a_code_span_ends_where_it_should() -> None:
    assert code("a {}") == "`a {}`"
    assert [tag for tag, _ in rendered(code("a ``b`` <img>")).found] == ["div", "p", "code"]
