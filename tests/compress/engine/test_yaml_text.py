"""YAML that a person wrote: read, or refused in a line; no crash, no memory full of anchors."""

from __future__ import annotations

import pytest

from compress.engine.yaml_text import parse_yaml

NINE = ["ab", "bc", "cd", "de", "ef", "fg"]
LINES = [f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in NINE]
BOMB = "\n".join(["a: &a [1,1,1,1,1,1,1,1,1]", *LINES])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "line 1"),
        ("a: 1\na: 2", "'a' is given twice, line 2"),
        ("{a: {b: 1, b: 2}}", "given twice"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("2026-99-99", "month must be"),
        ("!!int ''", "does not fit the type"),
        ("!!bool x", "does not fit the type"),
        ("!!timestamp x", "does not fit the type"),
        ("[" * 5000, "nested too deeply"),
        ("9" * 5000, "4300 digits"),
        (BOMB, "more than 100,000 values"),
        ("a: &a [*a]", "more than 100,000 values"),
        ("x" * 1_000_001, "characters"),
        ("\x07", "special characters"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_anchors_that_stay_small_are_read() -> None:
    assert parse_yaml("a: &x {k: 1}\nb: {<<: *x, j: 2}") == {"a": {"k": 1}, "b": {"k": 1, "j": 2}}


def test_as_text_every_value_is_what_is_written() -> None:
    text = "010: no\n2024-01-01: [1.0, yes, ~]\n'a': {on: off}"
    read = {"010": "no", "2024-01-01": ["1.0", "yes", "~"], "a": {"on": "off"}}
    assert parse_yaml(text, as_text=True) == read != parse_yaml(text)
    with pytest.raises(ValueError, match="given twice"):
        parse_yaml("a: 1\na: 2", as_text=True)
