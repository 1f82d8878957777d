"""Run folders: opened again, cleaned up after."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from tiny_stages import build, changed

from compress.engine.config import Settings, resolve
from compress.engine.runs import RunFolder, clean, run_folders
from compress.engine.locks import lock


def test_clean_leaves_alone_what_another_build_is_making(tmp_path: Path) -> None:
    part = tmp_path / "store" / "distill" / ".0123.part"
    (part / "partial").mkdir(parents=True)
    with lock(part.with_suffix(".lock"), "stage distill"):
        child = multiprocessing.get_context("spawn").Process(target=clean, args=(tmp_path,))
        child.start()
        child.join()
        assert child.exitcode == 0 and part.exists()
    assert clean(tmp_path)[0] == 1 and not part.exists()


def test_clean_keeps_what_runs_use(tmp_path: Path) -> None:
    build(Settings(), tmp_path, "a")
    build(changed(distill={"steps": 5}), tmp_path, "a")  # the first distill is orphaned
    assert clean(tmp_path, dry_run=True)[0] == 1
    removed, freed = clean(tmp_path)
    assert removed == 1 and freed > 0
    assert build(changed(distill={"steps": 5}), tmp_path, "a").made == []


def test_config_yaml_repeats_the_run(tmp_path: Path) -> None:
    run = build(changed(data={"shots": 2}, seed=3), tmp_path, "a")
    assert build(resolve(RunFolder(run.folder).layer()), tmp_path, "b").made == []


def test_a_run_folder_keeps_a_record_and_a_log(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a")
    (folder,) = run_folders(tmp_path)
    assert folder == RunFolder.of(tmp_path, "a") == RunFolder(run.folder)
    record = folder.record()
    assert record["made"] == ["data", "teacher", "distill"] and "end" in record
    events = (folder.path / "log.jsonl").read_text().splitlines()
    assert [line.count('"made"') for line in events] == [0, 1, 0, 1, 0, 1]
    assert [link.name for link in folder.links()] == ["data", "distill", "teacher"]
