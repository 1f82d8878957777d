"""Run folders: opened again, cleaned up after."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from tiny_stages import build, changed

from compress.data.views import PIXELS, SUMS
from compress.engine.config import Settings, resolve
from compress.engine.errors import ConfigError, StoreError
from compress.engine.locks import lock
from compress.engine.runs import (
    RunFolder,
    as_plain_name,
    clean,
    find_run,
    open_run,
    plain_name,
    run_folders,
)
from compress.engine.store import Store, write_json


def test_clean_leaves_alone_what_another_build_is_making(tmp_path: Path) -> None:
    part = tmp_path / "store" / "distill" / f".{'0' * 32}.part"
    (part / "partial").mkdir(parents=True)
    with lock(part.with_suffix(".lease"), "stage distill"):
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
    assert sorted(folder.stages()) == sorted(record["stages"]) == ["data", "distill", "teacher"]


def test_a_run_that_makes_nothing_ended_when_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(build(Settings(), tmp_path, "a").folder)
    first = folder.ended
    monkeypatch.setattr("compress.engine.runner.now", lambda: "later")
    build(Settings(), tmp_path, "a")
    assert folder.ended == first and folder.record()["start"] == "later"
    build(changed(distill={"steps": 5}), tmp_path, "a")
    assert folder.ended == "later"
    (folder.path / "run.json").write_text("{")
    assert folder.ended is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/a",
        "a\\b",
        "..\\a",
        "~a",
        "-a",
        ".a",
        " a",
        "a ",
        "a\nb",
        "a\0",
        "a:b",
    ]
    + ["x" * 201, "ü" * 101, "\u202ea", "a*", "a:b"],
)
def test_names_that_are_paths_or_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--work-dir"):
        plain_name(name)
    assert plain_name(as_plain_name(name))


@pytest.mark.parametrize("name", ["petals-4shot-s0", "Blüten 2", "a.b", "花", "x" * 200])
def test_plain_names_stay(name: str) -> None:
    assert plain_name(name) == as_plain_name(name) == name


def test_long_texts_give_different_names() -> None:
    assert as_plain_name("x" * 300) != as_plain_name("x" * 301)


def test_clean_goes_by_the_record_and_not_by_links(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a")
    for link in run.folder.iterdir():
        if link.is_symlink():
            link.unlink()
    assert clean(tmp_path)[0] == 0


def test_clean_keeps_all_that_a_damaged_record_may_have_named(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a")
    for entry in run.folder.iterdir():
        if entry.is_symlink():
            entry.unlink()
    (run.folder / "run.json").write_text("")
    assert clean(tmp_path)[0] == 0
    (run.folder / "log.jsonl").write_text("")
    assert clean(tmp_path)[0] == 3


def test_clean_keeps_the_stages_of_nested_runs_of_old_versions(tmp_path: Path) -> None:
    build(Settings(), tmp_path, "exp/one")
    assert clean(tmp_path)[0] == 0


def test_clean_waits_for_a_running_build(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a")
    with RunFolder(run.folder).lock(), pytest.raises(StoreError, match="another process"):
        clean(tmp_path)


def test_a_run_that_is_half_rebuilt_is_not_opened(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a")
    open_run(run.folder)
    build(changed(data={"shots": 2}), tmp_path, "a", until="data")
    with pytest.raises(ConfigError, match="half rebuilt.*was made from another stage data"):
        open_run(run.folder)
    build(changed(data={"shots": 2}), tmp_path, "a")
    open_run(run.folder)
    RunFolder(run.folder).stages()["data"].joinpath("stage.json").write_text("[]")
    RunFolder(run.folder).require_whole()  # damage is told by whoever needs the stage


def test_a_run_without_links_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr("os.symlink", refuse)
    run = build(Settings(), tmp_path, "a")
    assert sorted(open_run(run.folder).inputs) == ["data", "distill", "teacher"]
    assert build(Settings(), tmp_path, "a").made == []


def test_a_copy_that_followed_links_builds_on(tmp_path: Path) -> None:
    build(Settings(), tmp_path / "w", "a")
    shutil.copytree(tmp_path / "w", tmp_path / "c")  # follows links, as cp -rL
    copy = tmp_path / "c" / "runs" / "a"
    assert (copy / "data").is_dir() and not (copy / "data").is_symlink()
    assert build(Settings(), tmp_path / "c", "a").made == []
    assert (copy / "data").is_symlink() and sorted(open_run(copy).inputs)


def test_a_folder_of_the_user_in_the_place_of_a_link_stays(tmp_path: Path) -> None:
    run = RunFolder.of(tmp_path, "a")
    (run.path / "data").mkdir(parents=True)
    (run.path / "data" / "mine.txt").write_text("x")
    build(Settings(), tmp_path, "a")
    assert (run.path / "data" / "mine.txt").exists() and "data" in open_run(run.path).inputs


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', "\x00", "[" * 100_000])
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, text: str) -> None:
    run = build(Settings(), tmp_path, "a")
    (run.folder / "run.json").write_text(text)
    with pytest.raises(ConfigError, match="record of this run is damaged.*compress build --config"):
        RunFolder(run.folder).record()
    assert build(Settings(), tmp_path, "a").made == []


def test_an_unfinished_rerun_keeps_the_stages_it_did_not_reach(tmp_path: Path) -> None:
    build(Settings(), tmp_path, "a")
    run = build(Settings(), tmp_path, "a", until="data")
    assert sorted(RunFolder(run.folder).stages()) == ["data", "distill", "teacher"]


@pytest.mark.parametrize(
    "stages",
    [["a"], None, "x", 7, {"data": 3}, {"data": "../.."}, {"data": None}, {"../x": "a" * 32}]
    + [{"data": "A" * 32}, {"data": "a" * 31}, {"data": "a" * 32 + "\n"}, {"data": "a\0" * 16}],
)
def test_a_record_of_wrong_stages_is_told_and_stops_nothing(tmp_path: Path, stages: object) -> None:
    wrong = build(Settings(), tmp_path, "a").folder
    build(changed(seed=1), tmp_path, "b")
    record = RunFolder(wrong).record()
    write_json(wrong / "run.json", {**record, "stages": stages})
    with pytest.raises(ConfigError, match="run.json.*compress build --config"):
        RunFolder(wrong).record()
    assert "run.json" in str(RunFolder(wrong).damage)
    assert clean(tmp_path)[0] == 0
    assert sorted(open_run(wrong).inputs) == ["data", "distill", "teacher"]
    assert build(changed(seed=1), tmp_path, "b").made == []
    assert build(Settings(), tmp_path, "a").made == [] and RunFolder(wrong).damage is None


@pytest.mark.parametrize("wrong", [{"command": 3}, {"start": None}, {"end": ["x"]}])
def test_a_record_of_wrong_types_is_damaged(tmp_path: Path, wrong: dict[str, object]) -> None:
    run = RunFolder(build(Settings(), tmp_path, "a").folder)
    write_json(run.path / "run.json", {**run.record(), **wrong})
    with pytest.raises(ConfigError, match="damaged"):
        run.record()


def test_links_of_the_user_in_a_run_folder_are_no_stages(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a").folder
    (tmp_path / "far" / "bundle").mkdir(parents=True)
    (run / "bundle").symlink_to(tmp_path / "far" / "bundle")
    (run / "notes").symlink_to("absent")
    (run / "loop").symlink_to("loop")
    assert sorted(open_run(run).inputs) == ["data", "distill", "teacher"]
    assert build(Settings(), tmp_path, "a").made == []
    assert sorted(RunFolder(run).record()["stages"]) == ["data", "distill", "teacher"]


@pytest.mark.parametrize("name", ["run.json", "log.jsonl"])
def test_a_pipe_in_place_of_a_file_of_a_run_is_damage(tmp_path: Path, name: str) -> None:
    run = build(Settings(), tmp_path, "a").folder
    (run / name).unlink()
    os.mkfifo(run / name)
    assert (RunFolder(run).damage is not None) == (name == "run.json")
    assert clean(tmp_path)[0] == 0


def test_a_loop_of_links_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to("a")
    with pytest.raises(ConfigError, match="no such run"):
        find_run("a", tmp_path)
    assert clean(tmp_path) == (0, 0)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def foreign(work: Path) -> None:
    """Files of a web project in folders that are called as those of a work folder."""
    names = ["views/home.py", "views/parts/a.html", "views/x.u8", f"views/{'a' * 32}.txt"]
    names += ["store/modules/cart/index.js", f"store/Modules/{'a' * 32}/index.js"]
    names += ["store/data/.cart.part/x", f"store/data/{'a' * 31}/x", f"store/.{'a' * 31}.slice"]
    names += [f"views/{'b' * 32}{PIXELS}/x"]
    for name in names:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("mine")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_folder_that_is_no_work_folder_is_refused(tmp_path: Path, dry_run: bool) -> None:
    foreign(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"no work folder · got .* · expected runs/.*--work-dir"):
        clean(tmp_path, dry_run=dry_run)
    assert tree(tmp_path) == before
    assert clean(tmp_path / "absent", dry_run=dry_run) == (0, 0)
    assert tree(tmp_path) == before


def test_clean_removes_only_what_is_its_own(tmp_path: Path) -> None:
    foreign(tmp_path)
    before = tree(tmp_path)
    own = [f"store/data/{'0' * 32}/out", f"store/data/.{'1' * 32}.part/partial/x"]
    own += [f"store/data/.{'1' * 32}.{'2' * 32}.fetched/x"]
    own += [f"views/{'0' * 32}{suffix}" for suffix in (PIXELS, SUMS)]
    for name in own:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("12345")
    assert clean(tmp_path, dry_run=True) == clean(tmp_path) == (3, 25)
    assert tree(tmp_path) == before


def test_of_a_stage_behind_a_link_only_the_link_goes(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "out").write_text("x")
    (tmp_path / "store" / "data").mkdir(parents=True)
    (tmp_path / "store" / "data" / ("0" * 32)).symlink_to(tmp_path / "far")
    assert clean(tmp_path) == (1, 0)
    assert tree(tmp_path / "store" / "data") == [] and tree(tmp_path / "far") == ["out"]


def moved(tmp_path: Path) -> RunFolder:
    """A run that lies elsewhere; a link is in its place."""
    run = build(Settings(), tmp_path / "w", "a").folder
    (tmp_path / "far").mkdir()
    shutil.move(run, tmp_path / "far" / "a")
    run.symlink_to(tmp_path / "far" / "a")
    return RunFolder(run)


def test_what_show_lists_is_what_clean_keeps(tmp_path: Path) -> None:
    run = moved(tmp_path)
    build(changed(seed=1), tmp_path / "w", "exp/one")
    run.path.with_name("alias").symlink_to("a")
    (tmp_path / "w" / "runs" / "loop").symlink_to(tmp_path / "w")
    names = [folder.name for folder in run_folders(tmp_path / "w")]
    assert names == ["a", "alias", "exp/one"]
    assert all(RunFolder(find_run(name, tmp_path / "w")).exists for name in names)
    assert clean(tmp_path / "w")[0] == 0
    assert [build(Settings(), tmp_path / "w", "a").made] == [[]]


def test_a_linked_run_has_the_store_of_the_folder_it_is_named_in(tmp_path: Path) -> None:
    run = moved(tmp_path)
    found = RunFolder(find_run("a", tmp_path / "w"))
    assert found.store.root == tmp_path / "w" / "store"
    assert sorted(open_run(found.path).inputs) == ["data", "distill", "teacher"]
    (run.path / "run.json").write_text("")  # only the links are left, and they lead nowhere
    assert sorted(open_run(found.path).inputs) == ["data", "distill", "teacher"]
    assert build(Settings(), tmp_path / "w", "a").made == []
    assert (tmp_path / "far" / "a" / "data" / "out.json").is_file(), "the link is mended"


def test_a_link_to_a_run_leads_to_its_store(tmp_path: Path) -> None:
    build(Settings(), tmp_path / "w", "a")
    (tmp_path / "mine").symlink_to(tmp_path / "w" / "runs" / "a")
    found = RunFolder(find_run(tmp_path / "mine", tmp_path / "absent"))
    assert found.store.root == tmp_path / "w" / "store"
    assert sorted(open_run(found.path).inputs) == ["data", "distill", "teacher"]


def test_a_run_that_cannot_be_looked_into_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = build(Settings(), tmp_path, "a").folder
    listed = os.listdir

    def refuse(folder: Path) -> list[str]:
        if folder == run:
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr("os.listdir", refuse)
    assert run_folders(tmp_path) == [RunFolder(run)]


@pytest.mark.parametrize("dry_run", [False, True])
def test_clean_waits_for_slices(tmp_path: Path, dry_run: bool) -> None:
    store = Store.of(tmp_path)
    part = store.part("generate", "0" * 32)
    (part / "partial").mkdir(parents=True)
    with store.slicing("generate"), store.slicing("label"):
        with pytest.raises(StoreError, match="a slice of a stage is being made by another process"):
            clean(tmp_path, dry_run=dry_run)
        assert part.exists()
        lease = next(store.root.glob(".*.slice"))
        text = lease.read_text()
    child = multiprocessing.get_context("spawn").Process(target=print)
    child.start()
    child.join()
    lease.write_text(text.replace(f"pid={os.getpid()}", f"pid={child.pid}"))  # it was killed
    assert clean(tmp_path, dry_run=dry_run)[0] == 1
    assert part.exists() == dry_run and not list(store.root.glob(".*"))
