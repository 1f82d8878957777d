"""Partial work: what survives a kill or a power cut, and what is thrown away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compress.engine.partial import SUMS, discard_damaged, keep_json, kept


def write(path: Path, text: str) -> None:
    with kept(path) as temporary:
        temporary.write_text(text)


def test_whole_files_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "shard", "one")
    keep_json(tmp_path / "facts.json", {"a": 1})
    assert discard_damaged(tmp_path) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == [SUMS, "facts.json", "shard"]


@pytest.mark.parametrize("content", [b"", b"on", b"onf", b"one and more"])
def test_a_file_with_other_bytes_is_removed_and_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "shard", "one")
    write(tmp_path / "other", "two")
    (tmp_path / "shard").write_bytes(content)
    assert discard_damaged(tmp_path) == ["shard"]
    assert not (tmp_path / "shard").exists() and (tmp_path / "other").exists()


def test_what_has_no_checksum_is_removed(tmp_path: Path) -> None:
    (tmp_path / "loose").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to("nowhere")
    assert discard_damaged(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\xff\x00\n", b"0" * 64 + b"  shard"])
def test_damaged_checksums_trust_nothing(tmp_path: Path, damage: bytes) -> None:
    write(tmp_path / "shard", "one")
    (tmp_path / SUMS).write_bytes(damage)
    discard_damaged(tmp_path)
    assert not (tmp_path / "shard").exists()


def test_a_torn_line_spoils_only_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "one", "1")
    with (tmp_path / SUMS).open("ab") as sums:
        sums.write(b"\n0123")
    write(tmp_path / "two", "2")
    assert discard_damaged(tmp_path) == []
    assert (tmp_path / "one").exists() and (tmp_path / "two").exists()


def test_a_kill_between_checksum_and_rename_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "checkpoint", "first")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "checkpoint", "second")
    assert discard_damaged(tmp_path) == []
    assert (tmp_path / "checkpoint").read_text() == "first"
    assert discard_damaged(tmp_path / "nowhere") == []
