"""Prompts: templates filled with classes.

A template is text with ``{}`` where the class goes, taken word for word as CLIP's own templates
are, plus three signs:

    {category}    what kind of thing the class is ("flower"); a template that needs it is left out
                  where there is none
    [ ... ]       a part that is left out where there is no category:  "a photo of a {}[, a type of
                  {category}]."
    a(n) {}       the article that fits: "an orange", "a rose", and none in "french fries" (food) or
                  "the number 3"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from compress.data.split import ClassInfo
from compress.engine.errors import ConfigError, nearest

FIELDS = ("", "category")
#: categories whose members take no article: CLIP asks Food-101 with "a photo of {}, a type of
#: food."
WITHOUT_ARTICLE = frozenset({"food"})

_OPTIONAL = re.compile(r"\[([^\[\]]*\{category\}[^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa])\(n\) \{(category)?\}")
_DETERMINED = re.compile(r"(a|an|the|some|this|that|my|one|two|three|four|five)\s", re.IGNORECASE)
_VOWEL_SOUND = re.compile(
    r"(?!(?:eu|uni|use|usu|one\b|once\b|u\b))[aeiou]|hour|honest|heir|8|11\b|18\b", re.IGNORECASE
)


def prompts_for(classes: Iterable[ClassInfo], templates: Sequence[str]) -> list[list[str]]:
    """The prompts of every class, in the order of the templates and without repetitions.

    Raises:
        ConfigError: no templates, a template without ``{}`` or with an unknown field, or only
            templates that need a category for a class that has none.
    """
    check_templates(templates)
    return [_prompts(entry, templates) for entry in classes]


def expand_all(templates: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """``prompts_for`` the rows of classes.json."""
    return prompts_for(
        (ClassInfo(row["name"], row["prompt"], row.get("category")) for row in rows), templates
    )


def check_templates(templates: Sequence[str]) -> None:
    """Refuses templates that cannot be filled.

    Raises:
        ConfigError: says which template, and what it lacks.
    """
    if not templates:
        raise ConfigError(
            "there are no prompt templates", expected="at least one, e.g. 'a photo of a {}.'"
        )
    for template in templates:
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ConfigError(
                "a prompt template has a brace too many", got=f"{template!r} ({error})"
            ) from error
        fields = [field for _, field, _, _ in parts if field is not None]
        plain = all(
            not spec and not conversion for _, field, spec, conversion in parts if field is not None
        )
        unknown = [field for field in fields if field not in FIELDS]
        if unknown:
            remedy = "the class goes to {}, its kind to {category}; " + nearest(
                unknown[0], ["category"]
            )
            what = f"a prompt template has an unknown field {{{unknown[0]}}}"
            raise ConfigError(what, got=repr(template), remedy=remedy)
        if not plain:
            raise ConfigError(
                "a prompt template has a format after a field",
                got=repr(template),
                expected="plain {}",
            )
        if "" not in (
            field
            for _, field, _, _ in Formatter().parse(_OPTIONAL.sub("", template))
            if field is not None
        ):
            raise ConfigError(
                "a prompt template has no place for the class",
                got=repr(template),
                expected="{} in it",
            )


def fill(template: str, entry: ClassInfo) -> str | None:
    """One prompt, or None if the template needs a category and the class has none."""
    text = _OPTIONAL.sub(r"\1" if entry.category else "", template)
    if "{category}" in text and not entry.category:
        return None

    def with_article(match: re.Match[str]) -> str:
        phrase = (entry.category or "") if match[2] else entry.prompt
        bare = not match[2] and entry.category in WITHOUT_ARTICLE
        return _escaped(phrase if bare else _with_article(match[1], phrase))

    return _ARTICLE.sub(with_article, text).format(entry.prompt, category=entry.category)


def _with_article(letter: str, phrase: str) -> str:
    if _DETERMINED.match(phrase):
        return phrase
    return f"{letter}n {phrase}" if _VOWEL_SOUND.match(phrase) else f"{letter} {phrase}"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _prompts(entry: ClassInfo, templates: Sequence[str]) -> list[str]:
    filled = [
        prompt for prompt in (fill(template, entry) for template in templates) if prompt is not None
    ]
    if not filled:
        raise ConfigError(
            f"every prompt template asks for a category, and class {entry.name!r} has none",
            got=list(templates),
            remedy="say what kind of thing the classes are, e.g. --set data.category=flower",
        )
    return list(dict.fromkeys(filled))
