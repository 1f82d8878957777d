"""Prompts: templates filled with classes.

A template is text with ``{}`` in the place of the class, as CLIP's own templates are, plus:

    {category}    the kind of thing the class is ("flower"); without one the template is left out
    [ ... ]       a part left out without a category:  "a photo of a {}[, a type of {category}]."
    a(n) {}       the article that fits: "an orange", "a rose", and none in "french fries" (food) or
                  "the number 3"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Formatter

from compress.data.split import ClassInfo
from compress.engine.errors import ConfigError, nearest

FIELDS = ("", "category")
# their members take no article: CLIP's prompt for Food-101 is "a photo of {}, a type of food."
WITHOUT_ARTICLE = frozenset({"food"})

_OPTIONAL = re.compile(r"\[([^\[\]]*\{category\}[^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa])\(n\) \{(category)?\}")
_DETERMINED = re.compile(r"(a|an|the|some|this|that|my|one|two|three|four|five)\s", re.IGNORECASE)
_VOWEL_SOUND = re.compile(
    r"(?!(?:eu|uni|use|usu|one\b|once\b|u\b))[aeiou]|hour|honest|heir|8|11\b|18\b", re.IGNORECASE
)


def prompts_for(classes: Sequence[ClassInfo], templates: Sequence[str]) -> list[list[str]]:
    """The prompts of every class, in the order of the templates and without repetitions.

    Raises:
        ConfigError: as ``check_templates``, or every template needs a category and a class has
            none.
    """
    check_templates(templates)
    filled = [[fill(template, entry) for template in templates] for entry in classes]
    prompts = [[text for text in dict.fromkeys(row) if text is not None] for row in filled]
    for entry, row in zip(classes, prompts, strict=True):
        if not row:
            what = f"every prompt template asks for a category, and class {entry.name!r} has none"
            remedy = "say what kind of thing the classes are, e.g. --set data.category=flower"
            raise ConfigError(what, got=list(templates), remedy=remedy)
    return prompts


def check_templates(templates: Sequence[str]) -> None:
    """Raises ConfigError for a template that cannot be filled."""
    if not templates:
        expected = "at least one, e.g. 'a photo of a {}.'"
        raise ConfigError("there are no prompt templates", expected=expected)
    for template in templates:
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            got = f"{template!r} ({error})"
            raise ConfigError("a prompt template has a brace too many", got=got) from error
        got = repr(template)
        unknown = [field for _, field, _, _ in parts if field is not None and field not in FIELDS]
        if unknown:
            what = f"a prompt template has an unknown field {{{unknown[0]}}}"
            hint = nearest(unknown[0], ["category"])
            remedy = f"the class goes to {{}}, its kind to {{category}}; {hint}"
            raise ConfigError(what, got=got, remedy=remedy)
        if any(spec or conversion for _, _, spec, conversion in parts):
            what = "a prompt template has a format after a field"
            raise ConfigError(what, got=got, expected="plain {}")
        if "" not in [field for _, field, _, _ in Formatter().parse(_OPTIONAL.sub("", template))]:
            what = "a prompt template has no place for the class"
            raise ConfigError(what, got=got, expected="{} in it")


def fill(template: str, entry: ClassInfo) -> str | None:
    """One prompt, or None if the template needs a category and the class has none."""
    text = _OPTIONAL.sub(r"\1" if entry.category else "", template)
    if "{category}" in text and not entry.category:
        return None

    def with_article(match: re.Match[str]) -> str:
        phrase = (entry.category or "") if match[2] else entry.prompt
        article = f"{match[1]}n " if _VOWEL_SOUND.match(phrase) else f"{match[1]} "
        bare = not match[2] and entry.category in WITHOUT_ARTICLE
        text = phrase if bare or _DETERMINED.match(phrase) else article + phrase
        return text.replace("{", "{{").replace("}", "}}")  # a class name may hold braces

    return _ARTICLE.sub(with_article, text).format(entry.prompt, category=entry.category)
