"""Processors chosen for a measurement, in every thread, and given back."""

from __future__ import annotations

import os
import threading

import pytest

from runtime import BackendError
from runtime.bench.affinity import parse_cpus, pinned

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes"
)


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("0,1", (0, 1)), ("4-7, 1", (1, 4, 5, 6, 7)), ("3,3", (3,))]
)
def test_the_kernels_notation(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize(
    "text", ["", "a", "-1", "1-", "3-1", "0;1", "0-99999", "4096", "0,,1", "1.5"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BackendError, match="affinity"):
        parse_cpus(text)


def test_threads_inside_stay_on_the_processors_and_the_old_ones_return() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    seen: list[set[int]] = []
    go, stop = threading.Event(), threading.Event()

    def wait() -> None:
        go.wait(10)
        seen.append(os.sched_getaffinity(0))
        stop.wait(10)
        seen.append(os.sched_getaffinity(0))

    older = threading.Thread(target=wait)
    older.start()
    with pinned([one]):
        assert os.sched_getaffinity(0) == {one}
        new = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        new.start()
        new.join()
        go.set()
        while len(seen) < 2:
            pass
    stop.set()
    older.join()
    assert seen == [{one}, {one}, before] and os.sched_getaffinity(0) == before


def test_it_is_given_back_after_an_error() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), pinned([min(before)]):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


def test_a_processor_that_is_not_there_is_refused() -> None:
    with pytest.raises(BackendError, match="affinity"), pinned([4095]):
        pass
    with pinned(None):
        pass
