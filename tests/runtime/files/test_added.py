"""The manifest's part about added classes: what is accepted, and what is refused and why."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runtime.files.added import problems, scale_and_offset

PART: dict[str, Any] = {
    "rows": "added.npz",
    "classes": [{"name": "tulip", "photos": 8, "models": {"fp32": {"scale": 9.5, "offset": 0.0}}}],
    "steps": [1],
    "trained": {"labels.json": {"bytes": 1, "sha256": "0" * 64}},
}
FILES = {"added.npz": {}}


def test_a_sound_part_and_none() -> None:
    assert not list(problems(PART, FILES))
    assert not list(problems(None, FILES))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ((), [], "no list"),
        (("classes",), {}, "no list"),
        (("rows",), "../x.npz", "not a listed .npz file"),
        (("rows",), None, "not a listed .npz file"),
        (("steps",), [2], "not 1 in all"),
        (("steps",), [True], "not 1 in all"),
        (("steps",), None, "not 1 in all"),
        (("trained",), None, "files of before"),
        (("classes", 0), "tulip", "without a name"),
        (("classes", 0, "photos"), 0, "without a name, photos"),
        (("classes", 0, "models"), {}, "without a name, photos and models"),
        (("classes", 0, "models", "fp32"), {"scale": 1}, "without scale and offset"),
        (("classes", 0, "models", "fp32", "scale"), float("nan"), "without scale and offset"),
    ],
)
def test_what_is_refused(place: tuple[Any, ...], value: object, said: str) -> None:
    part: Any = copy.deepcopy(PART)
    if not place:
        part = value
    else:
        inside = part
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = value
    assert said in "; ".join(problems(part, FILES))


def test_a_model_without_a_row_has_that_of_the_one_it_was_made_from() -> None:
    models = {"fp32": {"scale": 1.0, "offset": 2.0}, "int8": {"scale": 3.0, "offset": 4.0}}
    assert scale_and_offset(models, "int8.trt") == (3.0, 4.0)
    assert scale_and_offset(models, "fp16") == (1.0, 2.0)
