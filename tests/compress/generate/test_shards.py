"""Which rows are made together: batches, and whole trajectories of every class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compress.api import Run, run_stages, settings_for
from compress.engine.config import GenerateSettings, InversionSettings
from compress.generate.artifact import GenerateArtifact
from compress.generate.shards import batch_rows, cut, unit_rows

Each = st.integers(1, 5)
Few = st.integers(1, 12)


def inversion(batch: int, snapshots: int) -> GenerateSettings:
    options = InversionSettings(snapshots=snapshots)
    return GenerateSettings(strategy="inversion", batch=batch, inversion=options)


@given(Few, Few, Each, Few)
def test_every_row_is_made_once_and_no_trajectory_is_cut(
    batch: int, classes: int, each: int, per_class: int
) -> None:
    settings = inversion(batch, each)
    count = per_class * classes
    made: list[int] = []
    for span in cut(range(count), unit_rows(settings, classes)):
        for rows in batch_rows(span, settings, classes):
            assert len(rows) <= batch * each
            made += rows
            for at in range(0, len(rows), each):
                numbers = [row // classes for row in rows[at : at + each]]
                assert {row % classes for row in rows[at : at + each]} == {rows[at] % classes}
                assert numbers == list(range(numbers[0], numbers[0] + each))
                assert numbers[0] % each == 0, "the same trajectory in every run"
    assert sorted(made)[:count] == list(range(count)) and len(made) == len(set(made))


@given(Few, Few, Each, Few, Few)
def test_a_larger_run_makes_the_rows_of_a_smaller_one_in_the_same_batches(
    batch: int, classes: int, each: int, few: int, more: int
) -> None:
    settings = inversion(batch, each)

    def made(per_class: int) -> list[tuple[int, ...]]:
        spans = cut(range(per_class * classes), unit_rows(settings, classes))
        return [tuple(rows) for span in spans for rows in batch_rows(span, settings, classes)]

    small, large = made(few), made(few + more)
    assert large[: len(small)] == small


def test_only_inversions_have_trajectories() -> None:
    plain = GenerateSettings(batch=8, inversion=InversionSettings(snapshots=4))
    assert unit_rows(plain, 5) == 8
    assert list(batch_rows(range(16), plain, 5)) == [range(8), range(8, 16)]


def build(work: Path, per_class: int, **inversion: Any) -> Run:
    options = {"steps": 3, "cutouts": 1, "snapshot_steps": 2, **inversion}
    words = {"kind": "words", "words": ["photo", "painting", "sketch"]}
    generate = {
        "strategy": "inversion",
        "per_class": per_class,
        "batch": 8,
        "prompts": words,
        "inversion": options,
    }
    settings = settings_for("petals8", shots=0, overrides={"generate": generate})
    return run_stages(settings, work, "shards", until="generate")


def test_the_stage_makes_trajectories_that_are_the_same_in_every_run(tmp_path: Path) -> None:
    found = {}
    for per_class, each in ((3, 2), (5, 2), (5, 1)):
        run = build(tmp_path, per_class, snapshots=each)
        found[per_class, each] = GenerateArtifact(run.stages["generate"].path)
    few, more, alone = found.values()
    assert len(few.images) == 24 and few.classes.tolist() == [i % 8 for i in range(24)]
    np.testing.assert_array_equal(few.images, more.images[:24])
    np.testing.assert_array_equal(few.images[:8], alone.images[:8])
    assert not np.array_equal(few.images[8:16], alone.images[8:16])
    styles = [record.style_id for record in more.records]
    assert styles[:8] == styles[8:16] and styles[16:24] == styles[24:32] != styles[:8]
    assert [record.path for record in few.records] == [f"synthetic.npy#{i}" for i in range(24)]
