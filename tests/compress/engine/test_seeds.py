from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from compress.engine.seeds import derive, manual_seed, numpy_rng, torch_rng

PATHS = st.lists(st.one_of(st.text(max_size=6), st.integers(-5, 5)), max_size=4).map(tuple)


@given(st.integers(0, 2**31), PATHS, PATHS)
def test_distinct_purposes_have_distinct_seeds(seed: int, a: tuple, b: tuple) -> None:
    assert (derive(seed, *a) == derive(seed, *b)) == (repr(a) == repr(b))


def test_seeds_are_stable_for_ever() -> None:
    assert derive(0, "generate", 3, 7) == 7744599862385770628
    assert 0 <= derive(123, "x") < 2**63


def test_generators_do_not_depend_on_what_ran_before() -> None:
    first = numpy_rng(0, "a").random(4)
    numpy_rng(0, "b").random(100)
    assert np.array_equal(first, numpy_rng(0, "a").random(4))
    one = torch.rand(3, generator=torch_rng(0, "a"))
    torch.rand(10)
    assert torch.equal(one, torch.rand(3, generator=torch_rng(0, "a")))
    manual_seed(0, "c")
    x = torch.rand(2)
    manual_seed(0, "c")
    assert torch.equal(x, torch.rand(2))
