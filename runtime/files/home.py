"""Paths that start with a tilde, which no shell expands in ``--data=~/photos`` or in quotes.

And where this user's caches lie.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """A path below the home folder it names; unchanged without a tilde or such a user."""
    return Path(os.path.expanduser(path))


def cache_folder(name: str) -> Path:
    """$CLIP2EDGE_CACHE/name, else clip2edge/name in $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("CLIP2EDGE_CACHE")
    if own:
        return user_path(own) / name
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = home if home.is_absolute() else user_path("~/.cache")
    return home / "clip2edge" / name


def expanded(arguments: Iterable[str]) -> list[str]:
    """The arguments of a command with tildes expanded, also behind the name of an option."""
    return [_expanded(argument) for argument in arguments]


def _expanded(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={os.path.expanduser(value)}"
    return os.path.expanduser(argument)
