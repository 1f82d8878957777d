from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.sensitivity.front import Variant, choose, nested, pareto, sentence

BLOCKS = ("stem", "middle", "head")


def row(names: Sequence[str], drop: float, p50: float | None, size: int) -> Variant:
    return Variant(tuple(names), 0.9 - drop / 100, drop, p50, size)


FP32 = row(BLOCKS, 0.0, 10.0, 400)
INT8 = row((), 1.2, 4.0, 100)
STEM = row(("stem",), 0.3, 4.5, 120)
HEAD = row(("head",), 0.9, 4.4, 180)
BOTH = row(("stem", "head"), 0.1, 5.0, 200)
TABLE = [INT8, FP32, STEM, HEAD, BOTH]


def by_percent(table: Sequence[Variant], noise: float):  # type: ignore[no-untyped-def]
    return lambda a, b: table[a].p50_ms > table[b].p50_ms * (1 + noise)


def test_the_front_holds_what_nothing_beats() -> None:
    assert [TABLE[i] for i in pareto(TABLE)] == [INT8, HEAD, STEM, BOTH, FP32]
    worse = row(("middle",), 0.4, 4.6, 130)
    assert worse not in [[*TABLE, worse][i] for i in pareto([*TABLE, worse])]
    assert pareto([STEM, STEM]) == [0]
    assert pareto([row((), 0.0, None, 1), row(BLOCKS, 0.0, 2.0, 2)]) == [
        1,
        0,
    ]  # untimed: it may still be the smallest


def test_the_fastest_within_the_gate_is_chosen() -> None:
    """int8 is faster and loses too much; so does the one with a float head."""
    assert TABLE[choose(TABLE, by_percent(TABLE, 0.0))] == STEM


def test_a_tie_goes_to_fewer_float_blocks() -> None:
    table = [row((), 0.2, 4.05, 100), FP32, row(("stem",), 0.0, 4.0, 120)]
    assert choose(table, by_percent(table, 0.05)) == 0
    assert choose(table, by_percent(table, 0.001)) == 2


def test_a_mixed_variant_has_to_beat_int8_and_fp32() -> None:
    """All but one block in float, as fast as fp32: not worth a third file."""
    slow = row((), 0.0, 20.0, 100)
    table = [slow, FP32, row(("stem", "head"), 0.0, 9.9, 300), row(("stem",), 0.0, 12.0, 200)]
    assert choose(table, by_percent(table, 0.05)) == 1
    assert choose(table, by_percent(table, 0.001)) == 2


def test_int8_that_saves_no_time_still_beats_fp32_in_a_tie() -> None:
    table = [row((), 0.0, 10.05, 100), FP32]
    assert choose(table, by_percent(table, 0.05)) == 0


def test_fp32_is_chosen_where_int8_is_slower_or_may_not_ship() -> None:
    slow = [row((), 0.0, 12.0, 100), FP32]
    assert choose(slow, by_percent(slow, 0.05)) == 1
    wrong = [row((), 3.0, 2.0, 100), FP32, row(("head",), 0.6, 3.0, 150)]
    assert choose(wrong, by_percent(wrong, 0.05)) == 1


def test_the_gate_itself_passes_and_more_does_not() -> None:
    assert row((), 0.5, 1.0, 1).passes and not row((), 0.51, 1.0, 1).passes


def test_nothing_that_may_ship_is_an_error() -> None:
    with pytest.raises(ValueError, match="keeps the accuracy"):
        choose([INT8], lambda a, b: False)


@pytest.mark.parametrize(
    ("chosen", "int8", "says"),
    [
        (
            STEM,
            INT8,
            "Quantize all but stem: 4.5 ms against 10 ms of fp32, 0.30 points lost (all in "
            "int8 4 ms and 1.20",
        ),
        (BOTH, INT8, "Quantize only middle: "),
        (
            row((), 0.0, 4.0, 100),
            row((), 0.0, 4.0, 100),
            "Quantize everything: 4 ms against 10 ms of fp32, no accuracy",
        ),
        (
            row((), 0.0, 10.2, 100),
            row((), 0.0, 10.2, 100),
            "Quantize everything: as fast as fp32 within the noise, 25 %",
        ),
        (FP32, INT8, "Do not quantize: int8 costs 1.20 points here, and no mix"),
        (FP32, row((), 0.0, 12.0, 100), "Do not quantize: int8 takes 12 ms, fp32 10 ms"),
    ],
)
def test_the_sentence_names_the_choice_and_its_reason(
    chosen: Variant, int8: Variant, says: str
) -> None:
    text = sentence(BLOCKS, chosen, int8, FP32)
    assert text.startswith(says) and text.endswith(".")


def test_removal_visits_one_more_block_each_time() -> None:
    assert nested(("a", "b", "c")) == [("a",), ("a", "b")]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12
    )
)
def test_every_variant_is_on_the_front_or_beaten_by_it(numbers: list[tuple[int, int, int]]) -> None:
    table = [row((), float(drop), float(p50), size) for drop, p50, size in numbers]
    front = pareto(table)
    for i, variant in enumerate(table):
        mine = (variant.drop_points, variant.p50_ms, variant.size_bytes)
        beaten = any(
            (
                table[j].drop_points <= mine[0]
                and table[j].p50_ms <= mine[1]
                and table[j].size_bytes <= mine[2]
            )
            for j in front
            if j != i
        )
        assert i in front or beaten
