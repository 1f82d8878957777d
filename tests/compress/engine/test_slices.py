"""Slices of a stage: made by themselves, in any order, and found by the next build."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from span_work import Counting
from tiny_stages import TABLE, small

from compress.engine import runner, slices
from compress.engine.config import HostSettings, Settings
from compress.engine.errors import ConfigError, StoreError
from compress.engine.executors.spans import make_spans
from compress.engine.runs import RunFolder, clean
from compress.engine.slices import Slice, make_slice
from compress.engine.stage import Stage, StageContext
from compress.engine.store import Store


def counted(ctx: StageContext) -> dict[str, Any]:
    """A stage of five spans."""
    numbers = [int(n) for file in make_spans(Counting(ctx)) for n in load_file(file)["numbers"]]
    (ctx.folder / "out").write_text(" ".join(map(str, numbers)))
    return {}


WORK = "span_work:Counting"
STAGES = (
    *TABLE[:2],
    Stage("generate", ("data", "teacher"), (), f"{__name__}:counted", spans=WORK),
    Stage("after", ("generate",), (), f"{small.__module__}:small", spans=WORK),
)


def build(work: Path, stages: tuple[Stage, ...] = STAGES) -> runner.BaseRun:
    built = runner.BaseRun("run", RunFolder.of(work, "run").path, Settings())
    return runner.run(stages, built, Store.of(work), publish=lambda run: None)


def shard(work: Path, *part: Any, stage: str = "generate", **named: Any) -> list[str]:
    chosen = Slice(*part, **named)
    files = make_slice(STAGES, stage, chosen, Settings(), Store.of(work), HostSettings())
    return [file.name for file in files]


def test_a_build_finds_what_the_slices_made(tmp_path: Path) -> None:
    build(tmp_path, STAGES[:2])
    assert shard(tmp_path, 1, 2) == ["count_003.safetensors", "count_009.safetensors"]
    assert shard(tmp_path, only=12) == ["count_012.safetensors"]
    assert shard(tmp_path, prepare=True) == []
    part = next(Store.of(tmp_path).root.glob("generate/.*.part/partial"))
    times = {file.name: file.stat().st_mtime_ns for file in part.glob("*.safetensors")}
    assert len(times) == 3
    made = []
    whole = replace(STAGES[2], run=f"{__name__}:counted")
    with pytest.MonkeyPatch.context() as patch:
        make = Counting.make
        patch.setattr(Counting, "make", lambda *a: (made.append(a[1].start), make(*a)))
        built = build(tmp_path, (*STAGES[:2], whole))
    assert made == [0, 6], "the spans that no slice made"
    text = (built.stages["generate"].path / "out").read_text()
    assert text == " ".join(map(str, range(15)))
    assert shard(tmp_path, 0, 2) == [], "the stage is finished"


def test_a_damaged_file_of_a_slice_is_made_again(tmp_path: Path) -> None:
    build(tmp_path, STAGES[:2])
    shard(tmp_path, 0, 1)
    part = next(Store.of(tmp_path).root.glob("generate/.*.part/partial"))
    (part / "count_003.safetensors").write_bytes(b"cut")
    built = build(tmp_path, STAGES[:3])
    text = (built.stages["generate"].path / "out").read_text()
    assert text == " ".join(map(str, range(15)))


def test_what_cannot_be_sliced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"generate needs .* `build --until teacher` in place"):
        shard(tmp_path)
    build(tmp_path, STAGES[:2])
    with pytest.raises(StoreError, match=r"after needs .* got data, teacher · .* --until generate"):
        shard(tmp_path, stage="after")
    with pytest.raises(ConfigError, match=r"cannot be made in slices · got 'data' · one of: after"):
        shard(tmp_path, stage="data")
    with pytest.raises(ConfigError, match=r"no such slice · got --index 2 --of 2"):
        shard(tmp_path, 2, 2)
    with pytest.raises(ConfigError, match=r"no span starts at this row · got '4'"):
        shard(tmp_path, only=4)


def test_clean_leaves_a_running_slice_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, STAGES[:2])
    make = Counting.make

    def cleaned(*args: Any) -> None:
        with pytest.raises(StoreError, match="a slice of a stage is being made"):
            clean(tmp_path)
        make(*args)

    monkeypatch.setattr(Counting, "make", cleaned)
    shard(tmp_path, 0, 2)
    part = next(Store.of(tmp_path).root.glob("generate/.*.part/partial"))
    assert len(list(part.glob("*.safetensors"))) == 3
    assert clean(tmp_path)[0] == 1 and not part.exists()


def test_slices_run_at_once_and_wait_for_clean(tmp_path: Path) -> None:
    build(tmp_path, STAGES[:2])
    store = Store.of(tmp_path)
    made: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda index=index: made.append(shard(tmp_path, index, 2)))
        for index in range(2)
    ]
    with store.cleaning():
        for thread in threads:
            thread.start()
        threads[0].join(1)
        assert not made and not list(store.root.glob("generate/.*.part"))
    for thread in threads:
        thread.join(60)
    assert sorted(map(len, made)) == [2, 3] and not list(store.root.glob(".*"))
    with store.slicing("generate"), store.slicing("generate"):
        assert len(shard(tmp_path, 0, 2)) == 3, "another one is running"
        assert build(tmp_path).made == ["generate", "after"], "a build does not wait for slices"


def test_a_slice_whose_files_are_gone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, STAGES[:2])

    def removed(*args: Any) -> list[Path]:
        files = make_spans(*args)
        shutil.rmtree(files[0].parent)
        return files

    monkeypatch.setattr(slices, "make_spans", removed)
    with pytest.raises(StoreError, match=r"were removed .* got 3 of 3 are gone, .*repeat"):
        shard(tmp_path, 0, 2)

    def finished(*args: Any) -> list[Path]:
        files = make_spans(*args)
        build(tmp_path, STAGES[:3])
        return files

    monkeypatch.setattr(slices, "make_spans", finished)
    assert shard(tmp_path, 0, 2) == [], "a build has finished the stage"
