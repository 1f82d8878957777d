"""Paths that start with a tilde, which no shell expands in ``--data=~/photos`` or in quotes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """A path below the home folder it names; unchanged without a tilde or such a user."""
    return Path(os.path.expanduser(path))


def expanded(arguments: Iterable[str]) -> list[str]:
    """The arguments of a command with tildes expanded, also behind the name of an option."""
    return [_expanded(argument) for argument in arguments]


def _expanded(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={os.path.expanduser(value)}"
    return os.path.expanduser(argument)
