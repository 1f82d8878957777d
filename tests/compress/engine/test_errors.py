"""The errors of the build and of the runtime."""

from __future__ import annotations

import pytest

from compress.engine.errors import (
    BudgetUnmetError,
    Clip2EdgeError,
    ConfigError,
    DataError,
    lookup,
    nearest,
)
from runtime.errors import BundleError, EdgeError, ExplainedError


def test_an_error_says_what_got_expected_and_remedy() -> None:
    error = ConfigError("wrong", got=3, expected=4, remedy="say 4")
    assert str(error) == "wrong · got 3 · expected 4 · say 4"
    assert (error.what, error.got, error.expected, error.remedy) == ("wrong", 3, 4, "say 4")
    assert str(BundleError("damaged")) == "damaged"


def test_the_build_and_the_runtime_do_not_catch_each_other() -> None:
    for error, other in ((BudgetUnmetError("x"), EdgeError), (BundleError("x"), Clip2EdgeError)):
        with pytest.raises(ExplainedError):
            raise error
        assert not isinstance(error, other)


def test_a_remedy_names_the_nearest_choice() -> None:
    assert (
        nearest("flower", ["cars", "flowers"]) == "did you mean 'flowers'? (one of: cars, flowers)"
    )
    assert nearest("xyz", ["cars"]) == "one of: cars"
    assert nearest("x", [f"name{i:02}" for i in range(20)]).endswith("name11, ... (20 in all)")


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    assert lookup({"cars": 1}, "cars", "unknown dataset") == 1
    with pytest.raises(DataError, match="unknown dataset · got 'car' · did you mean 'cars'"):
        lookup({"cars": 1}, "car", "unknown dataset", DataError)
