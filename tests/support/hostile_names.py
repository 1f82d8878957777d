"""Class names that someone else's data may bring along, one a kind of place that reads text."""

from __future__ import annotations

HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "</script></style></title></svg><b>",
    "black & white &lt;b&gt; &amp;",
    "`id` $(id) ${HOME} $x$",
    "[click](javascript:alert(1)) ![x](http://a.b/c.png)",
    "a | b | c",
    "{{ 7 * 7 }} {% raw %} {# x #}",
    "*bold* _slanted_ ~~gone~~ # head",
    'it\'s "quoted" \\ back\\slash ??/',
    "line\u2028separator\u2029here",
    "right \u202eto left\u202c \u200f\u05d0",
    "=cmd|'/c calc'!A0",
    "\U0001f339 rose \U0001f469\u200d\U0001f33e",
    "x" * 250,
)


def renamed(value: object, names: dict[str, str]) -> object:
    """A JSON value with each of ``names`` replaced, in keys and texts alike."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value
