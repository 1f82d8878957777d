"""Paths as people give them: with a tilde, as in ``--data=~/photos``, but not empty.

And where this user's caches lie.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import EdgeError

HERE = 'a value; of a path, "." is the current folder'


def user_path(path: str | Path) -> Path:
    """A path below the home folder it names; unchanged without a tilde or such a user.

    Raises: EdgeError: an empty text, which Python takes for the current folder.
    """
    if path == "":
        raise EdgeError("a path is empty", expected=HERE)
    return Path(os.path.expanduser(path))


def cache_folder(name: str) -> Path:
    """$CLIP2EDGE_CACHE/name, else clip2edge/name in $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("CLIP2EDGE_CACHE")
    if own:
        return user_path(own) / name
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = home if home.is_absolute() else user_path("~/.cache")
    return home / "clip2edge" / name


def expanded(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with tildes expanded, also behind the name of an option.

    Raises: EdgeError: an empty one, e.g. of a variable that is not set.
    """
    for before, argument in zip(("", *arguments), arguments, strict=False):
        option, _, value = argument.partition("=") if argument.startswith("--") else ("", "", "")
        if argument == "" or (value == "" and argument == f"{option}="):
            given = option or before
            after = f" after {given}" if given else ""
            what = f"an argument is empty{after}"
            raise EdgeError(what, expected=HERE, remedy="look for a variable that is not set")
    return [_expanded(argument) for argument in arguments]


def _expanded(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={os.path.expanduser(value)}"
    return os.path.expanduser(argument)
