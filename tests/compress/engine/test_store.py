from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from compress.engine.errors import StoreError
from compress.engine.locks import lock
from compress.engine.store import MANIFEST, PARTIAL, Store
from compress.engine.system_errors import system_errors


def fill(text: str = "hello"):
    def write(folder: Path) -> dict:
        (folder / "sub").mkdir()
        (folder / "sub" / "file.txt").write_text(text)
        return {"said": text}

    return write


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
        (folder / PARTIAL).mkdir()
        (folder / PARTIAL / "shard").write_text("kept")
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
    assert [p.name for p in (tmp_path / "data").iterdir() if not p.name.endswith(".lock")] == ["k"]


def test_two_builds_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += "from pathlib import Path; from compress.engine.locks import lock\n"
    code += f"with lock(Path({str(path)!r}), 'run'):\n    print('held', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline().strip() == "held"
    with pytest.raises(StoreError, match=f"process {other.pid}.*--work-dir"), lock(path, "run"):
        pass
    other.kill()
    other.wait()
    with lock(path, "run"):  # the kernel has dropped it
        pass


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def out_of_space(folder: Path) -> dict:
        (folder / PARTIAL).mkdir(exist_ok=True)
        (folder / PARTIAL / "shard").write_text("kept")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="disk is full.*compress clean"):
        store.make("data", "k", {}, out_of_space)
    assert (tmp_path / "data" / ".k.part" / PARTIAL / "shard").read_text() == "kept"
    with pytest.raises(OSError, match="other"), system_errors(tmp_path):
        raise OSError(errno.EIO, "other")
