from __future__ import annotations

import errno
import json
import math
import os
import shutil
from pathlib import Path

import pytest

from compress.engine import store as store_module
from compress.engine.errors import ExplainedError, StoreError
from compress.engine.partial import kept
from compress.engine.store import MANIFEST, PARTIAL, Store, canonical, write_json

KEY = "0" * 32


def fill(text: str = "hello"):
    def write(folder: Path) -> dict:
        (folder / "sub").mkdir()
        (folder / "sub" / "file.txt").write_text(text)
        return {"said": text}

    return write


def keep(folder: Path) -> None:
    """Partial work."""
    (folder / PARTIAL).mkdir(exist_ok=True)
    with kept(folder / PARTIAL / "shard") as temporary:
        temporary.write_text("kept")


def test_made_once_and_found_again(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []

    def counted(folder: Path) -> dict:
        calls.append(1)
        return fill()(folder)

    made = store.make("data", "k", {"a": 1}, counted)
    assert store.make("data", "k", {"a": 1}, counted) == made == store.get("data", "k")
    assert len(calls) == 1 and made.facts == {"said": "hello"} and made.identity == {"a": 1}


def test_content_is_of_the_files_not_of_the_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    a, b, c = (
        store.make("data", key, {}, fill(text))
        for key, text in (("1", "x"), ("2", "x"), ("3", "y"))
    )
    assert a.content == b.content != c.content


def test_a_folder_without_a_valid_manifest_does_not_exist(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = store.make("data", "k", {}, fill())
    (made.path / "sub" / "file.txt").write_text("hello, longer")
    assert store.get("data", "k") is None
    assert store.make("data", "k", {}, fill()).facts  # made again over the damaged one
    (made.path / MANIFEST).write_text("{")
    assert store.get("data", "k") is None
    (made.path / MANIFEST).write_text(json.dumps([1]))
    assert store.get("data", "k") is None


def test_an_interrupted_stage_keeps_only_partial(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def dies(folder: Path) -> dict:
        keep(folder)
        (folder / "half").write_text("lost")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.make("data", "k", {}, dies)
    assert store.get("data", "k") is None

    def resumes(folder: Path) -> dict:
        assert (folder / PARTIAL / "shard").read_text() == "kept"
        assert not (folder / "half").exists()
        return fill()(folder)

    made = store.make("data", "k", {}, resumes)
    assert not (made.path / PARTIAL).exists()
    assert [p.name for p in (tmp_path / "data").iterdir() if p.is_dir()] == ["k"]


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def out_of_space(folder: Path) -> dict:
        keep(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="disk is full.*compress clean"):
        store.make("data", "k", {}, out_of_space)
    assert (tmp_path / "data" / ".k.part" / PARTIAL / "shard").read_text() == "kept"


def flip(file: Path, at: int = -1) -> None:
    """Another byte of the same number of bytes."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_other_bytes_of_the_same_size_are_noticed(tmp_path: Path) -> None:
    store, notes = Store(tmp_path), []
    made = store.make("data", "k", {}, fill())
    flip(made.path / "sub" / "file.txt")
    assert store.get("data", "k") is None
    assert "file.txt is damaged" in str(store.damage("data", "k"))
    again = store.make("data", "k", {}, fill(), notes.append)
    assert again.content == made.content and "made again" in notes[0]
    assert store.damage("data", "k") is None and store.damage("data", "other") is None


def test_a_file_is_hashed_once_and_again_when_its_state_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    made = store.make("data", "k", {}, fill())
    hashed: list[Path] = []
    real = store_module.sha256_file
    monkeypatch.setattr(store_module, "sha256_file", lambda p: (hashed.append(p), real(p))[1])
    assert store.get("data", "k") and hashed == []
    file = made.path / "sub" / "file.txt"
    stat = file.stat()
    flip(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the inode's time still tells
    assert store.get("data", "k") is None and hashed == [file]
    flip(file)
    assert store.get("data", "k", rehash=True)


def test_bytes_that_rot_without_a_trace_are_found_by_a_full_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    made = store.make("data", KEY, {}, fill())
    flip(made.path / "sub" / "file.txt")
    monkeypatch.setattr(store_module, "_state", lambda file: [0])
    store._write_seen("data", KEY, {"sub/file.txt": [0]})
    assert store.get("data", KEY)  # as a rotten disk shows it
    assert [damage is None for _, _, damage in store.check()] == [False]


@pytest.mark.parametrize("at", range(0, 600, 7))
def test_any_flipped_byte_of_the_manifest_is_noticed(tmp_path: Path, at: int) -> None:
    store = Store(tmp_path)
    made = store.make("data", "k", {"a": 1}, fill())
    text = (made.path / MANIFEST).read_bytes()
    flip(made.path / MANIFEST, at % len(text))
    found = store.get("data", "k")
    assert found is None or json.loads((made.path / MANIFEST).read_bytes()) == json.loads(text)


def test_a_stage_of_the_first_schema_is_still_valid(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = store.make("data", "k", {}, fill())
    manifest = json.loads((made.path / MANIFEST).read_text())
    del manifest["check"], manifest["threads"]
    (made.path / MANIFEST).write_text(json.dumps({**manifest, "schema": 1}))
    assert store.get("data", "k")
    (made.path / MANIFEST).write_text(json.dumps({**manifest, "schema": 2}))  # without a check
    assert store.get("data", "k") is None


def test_a_copied_store_is_hashed_and_used(tmp_path: Path) -> None:
    made = Store(tmp_path / "a").make("data", "k", {}, fill())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    found = Store(tmp_path / "b").get("data", "k")
    assert found is not None and found.content == made.content


def test_damaged_partial_work_is_made_again_with_a_note(tmp_path: Path) -> None:
    store, notes = Store(tmp_path), []

    def dies(folder: Path) -> dict:
        keep(folder)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.make("data", "k", {}, dies)
    shard = store.part("data", "k") / PARTIAL / "shard"
    shard.write_bytes(b"")

    def resumes(folder: Path) -> dict:
        assert not (folder / PARTIAL / "shard").exists()
        return fill()(folder)

    store.make("data", "k", {}, resumes, notes.append)
    assert notes == ["data: the unfinished shard is damaged and is made again"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_no_json_is_never_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ExplainedError, match="no JSON"):
        write_json(tmp_path / "file.json", {"loss": value})
    with pytest.raises(ExplainedError, match="no JSON"):
        canonical({"loss": [value]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sub/file.txt", MANIFEST])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a pipe"])
def test_what_is_no_file_in_place_of_a_stored_one_is_damage(
    tmp_path: Path, name: str, kind: str
) -> None:
    store = Store(tmp_path / "store")
    made = store.make("data", KEY, {}, fill())
    (made.path / name).unlink()
    if kind == "folder":
        (made.path / name).mkdir()
    elif kind == "pipe":
        os.mkfifo(made.path / name)
    else:
        os.mkfifo(tmp_path / "pipe")
        (made.path / name).symlink_to(tmp_path / "pipe")
    (damage,) = (damage for _, _, damage in store.check())
    assert damage is not None and name in damage
    assert store.get("data", KEY) is None
    notes: list[str] = []
    assert store.make("data", KEY, {}, fill(), notes.append).facts == {"said": "hello"}
    assert any(name in note for note in notes) and (made.path / name).is_file()


def test_a_pipe_in_place_of_what_is_noted_is_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make("data", "k", {}, fill())
    noted = tmp_path / "data" / ".k.verified"
    noted.unlink()
    os.mkfifo(noted)
    assert store.get("data", "k") is not None


def test_only_stages_are_checked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make("data", KEY, {}, fill())
    for name in ("modules/cart", f"data/.{KEY}.part", "data/notes"):
        (tmp_path / name).mkdir(parents=True)
    assert list(store.check()) == [("data", KEY, None)]
    parts = [store.part("data", KEY), store.folder("data", KEY)]
    assert store.folders() == parts
