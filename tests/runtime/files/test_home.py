from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import EdgeError
from runtime.files.home import expanded, user_path


@pytest.mark.parametrize(
    "given, read",
    [
        ("--data=~/photos", "--data=/home/me/photos"),
        ("~/photos", "/home/me/photos"),
        ("~", "/home/me"),
        ("--data=~nobody-of-that-name/x", "--data=~nobody-of-that-name/x"),
        ("--classes=a~,b", "--classes=a~,b"),
        ("data.path=~/x", "data.path=~/x"),
        ("./~/x", "./~/x"),
    ],
)
def test_arguments_of_a_command(monkeypatch: pytest.MonkeyPatch, given: str, read: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded([given, "-x"]) == [read, "-x"]


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["build", "--data", ""], "empty after --data"),
        (["build", "--data="], "empty after --data"),
        (["evaluate", "bundle", ""], "empty after bundle"),
        ([""], "empty · expected"),
    ],
)
def test_an_empty_argument_is_no_current_folder(arguments: list[str], named: str) -> None:
    with pytest.raises(EdgeError, match=named):
        expanded(arguments)
    with pytest.raises(EdgeError, match='path is empty.*"." is the current folder'):
        user_path("")
    assert expanded(["--data", ".", "a=", "--set", "notes="])[-1] == "notes="


def test_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/x") == user_path(Path("~/x")) == Path("/home/me/x")
