"""Two folders change places, in one step or with a way back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.files import swap as swapping
from runtime.files.swap import restore, swap


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("new", "present"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name, encoding="utf-8")
    return tmp_path / "new", tmp_path / "present"


def which(folder: Path) -> str:
    return (folder / "which").read_text(encoding="utf-8")


@pytest.mark.parametrize("at_once", [True, False])
def test_they_change_places(
    folders: tuple[Path, Path], at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.setattr(swapping, "_exchanged", lambda first, second: False)
    new, present = folders
    swap(new, present)
    assert (which(present), which(new)) == ("new", "present")
    assert sorted(path.name for path in present.parent.iterdir()) == ["new", "present"]


def test_a_kill_between_two_renames_is_mended(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, present = folders
    monkeypatch.setattr(swapping, "_exchanged", lambda first, second: False)
    done: list[object] = []
    real = os.replace

    def killed(source: Path, goal: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(source)
        real(source, goal)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        swap(new, present)
    monkeypatch.undo()
    assert not present.exists()
    restore(present)
    assert which(present) == "present" and which(new) == "new"
    restore(present)  # nothing is left to do
    assert which(present) == "present"


def test_a_rename_that_fails_leaves_both(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, present = folders
    monkeypatch.setattr(swapping, "_exchanged", lambda first, second: False)
    real = os.replace

    def fails(source: Path, goal: Path) -> None:
        if source == new:
            raise OSError("no")
        real(source, goal)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no"):
        swap(new, present)
    assert (which(present), which(new)) == ("present", "new")
