"""The page of all commands, from the command lines themselves."""

from __future__ import annotations

import argparse
import inspect
from typing import Any

from settings_reference import plain
from typer.main import get_command

from compress.cli.app import app
from runtime.__main__ import _parser

HEAD = """\
# Commands

`compress COMMAND --help` shows the same. Exit codes: 0, all is well; 1, a budget is not kept or a
check failed; 2, any other error, with what
was got, what was expected and the remedy; 128 and more, stopped by a signal.

"""
RUNTIME = """\
## On the device

`python -m runtime COMMAND` needs numpy, Pillow and an engine. `compress` hands the commands of
the same name on to it.

"""


def page() -> str:
    """The page as Markdown."""
    group: Any = get_command(app)
    ours = (builder(name, command) for name, command in group.commands.items())
    theirs = (device(name, *row) for name, row in device_commands().items())
    return HEAD + "".join(ours) + RUNTIME + "".join(theirs)


def builder(name: str, command: Any) -> str:
    """A command of ``compress``."""
    if [parameter.name for parameter in command.params] == ["arguments"]:
        link = f"As [`python -m runtime {name}`](#runtime-{name})."
        return f"## compress {name}\n\n{text(command.help)}\n\n{link}\n\n"
    rows = [
        (
            ", ".join(f"`{o}`" for o in names(parameter)),
            shown(parameter),
            cell(getattr(parameter, "help", "")),
        )
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
    ]
    return f"## compress {name}\n\n{text(command.help)}\n\n" + table(rows)


def names(parameter: Any) -> list[str]:
    """How a parameter is written: options with their long name first, arguments in capitals."""
    options = [*parameter.opts, *parameter.secondary_opts]
    is_option = options[0].startswith("-")
    return options if is_option else [parameter.metavar or options[0].upper()]


def shown(parameter: Any) -> str:
    """The default, if it says anything."""
    return "required" if parameter.required else told(parameter.default)


def device_commands() -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Those of ``python -m runtime``, with what they do."""
    actions = _parser()._actions
    (group,) = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    summaries = {action.dest: str(action.help or "") for action in group._choices_actions}
    return {name: (summaries.get(name, ""), parser) for name, parser in group.choices.items()}


def device(name: str, summary: str, parser: argparse.ArgumentParser) -> str:
    """A command of ``python -m runtime``."""
    rows = [
        (", ".join(f"`{one}`" for one in written(action)), told(action.default), cell(action.help))
        for action in parser._actions
        if action.help != argparse.SUPPRESS
    ]
    heading = f"### runtime {name} {{ #runtime-{name} }}"
    return f"{heading}\n\n{text(parser.description or summary)}\n\n" + table(rows)


def written(action: argparse.Action) -> list[str]:
    """How an option or an argument of the runtime is written."""
    return list(action.option_strings) or [str(action.metavar or action.dest.upper())]


def told(default: object) -> str:
    """A default, if it says anything."""
    nothing: tuple[object, ...] = (None, False, argparse.SUPPRESS, (), [], "")
    return "" if default in nothing or callable(default) else f"`{default}`"


def table(rows: list[tuple[str, str, str]]) -> str:
    head = "| option | default | what |\n|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n" if rows else ""


def text(help_text: str | None) -> str:
    """A help text as paragraphs."""
    paragraphs = inspect.cleandoc(help_text or "").split("\n\n")
    return "\n\n".join(plain(paragraph.replace("\b\n", "")) for paragraph in paragraphs)


def cell(help_text: str | None) -> str:
    return plain(" ".join((help_text or "").split()))
