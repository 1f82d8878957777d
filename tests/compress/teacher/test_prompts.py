from __future__ import annotations

import pytest

from compress.data.split import ClassInfo
from compress.engine.config import CLIP_TEMPLATES, preset
from compress.engine.errors import ConfigError
from compress.teacher.prompts import fill, prompts_for

PAPER_TEMPLATES = tuple(preset("sidclip")["teacher"]["templates"])
ROSE = ClassInfo("rose", "rose", "flower")
PLAIN = ClassInfo("rose", "rose")


def test_templates_are_taken_word_for_word():
    assert prompts_for([ClassInfo("airplane", "airplane")], ["a photo of a {}.", "the {}"]) == [
        ["a photo of a airplane.", "the airplane"]  # as CLIP's own prompts
    ]


def test_the_papers_second_template_needs_a_category():
    assert prompts_for([ROSE], PAPER_TEMPLATES) == [
        ["A photo of rose.", "A photo of rose, a photo of flower."]
    ]
    assert prompts_for([PLAIN], PAPER_TEMPLATES) == [["A photo of rose."]]
    assert len(prompts_for([PLAIN], CLIP_TEMPLATES)[0]) == len(CLIP_TEMPLATES)


def test_brackets_hold_what_needs_a_category():
    template = "a photo of a {}[, a type of {category}]."
    assert fill(template, ROSE) == "a photo of a rose, a type of flower."
    assert fill(template, PLAIN) == "a photo of a rose."
    assert fill("a {} [sic]", PLAIN) == "a rose [sic]"


@pytest.mark.parametrize(
    "name, category, prompt",
    [
        ("orange", None, "a photo of an orange."),
        ("rose", None, "a photo of a rose."),
        ("hourglass", None, "a photo of an hourglass."),
        ("unicycle", None, "a photo of a unicycle."),
        ("umbrella", None, "a photo of an umbrella."),
        ("euphonium", None, "a photo of a euphonium."),
        ("one-way sign", None, "a photo of a one-way sign."),
        ("the number 3", None, "a photo of the number 3."),
        ("French fries", "food", "a photo of French fries."),
        ("{odd}", None, "a photo of a {odd}."),
    ],
)
def test_article(name, category, prompt):
    assert fill("a photo of a(n) {}.", ClassInfo(name, name, category)) == prompt


def test_article_before_a_category():
    assert fill("{}, a(n) {category}", ClassInfo("koala", "koala", "animal")) == "koala, an animal"


def test_repeated_prompts_are_given_once():
    assert prompts_for([PLAIN], ["a {}", "a {}[, a {category}]"]) == [["a rose"]]


@pytest.mark.parametrize(
    "templates, message",
    [
        ([], "no prompt templates"),
        (["a photo"], r"no place for the class.*got 'a photo'"),
        (["a photo[ of a {}, a {category}]"], "no place for the class"),
        (["a photo of {categry}, {}"], "unknown field {categry}.*did you mean 'category'"),
        (["a photo of {0}"], "unknown field {0}"),
        (["a photo of {"], "a brace too many"),
        (["a photo of {:>10}"], "a format after a field"),
        (["a {}, a {category}"], "class 'rose' has none.*data.category=flower"),
    ],
)
def test_templates_that_cannot_be_filled(templates, message):
    with pytest.raises(ConfigError, match=message):
        prompts_for([PLAIN], templates)
