"""Commands about a finished bundle: use it, measure it, export it, put it into an app. The other half of ``cli.py``."""

from __future__ import annotations

from typing import Annotated

import typer

commands = typer.Typer()


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def classify(arguments: Annotated[list[str], typer.Argument(help="BUNDLE IMAGE...")]) -> None:
    """Classify images with a bundle (the same as python -m runtime classify)."""
    _runtime("classify", arguments)


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def bench(arguments: Annotated[list[str], typer.Argument(help="BUNDLE [--seconds S] [--threads N]")]) -> None:
    """Measure a bundle's latency on this machine (the same as python -m runtime bench)."""
    _runtime("bench", arguments)


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def verify(arguments: Annotated[list[str], typer.Argument(help="BUNDLE")]) -> None:
    """Check a bundle on this machine, step by step (the same as python -m runtime verify)."""
    _runtime("verify", arguments)


def _runtime(command: str, arguments: list[str]) -> None:
    from runtime.__main__ import main as runtime_main

    raise typer.Exit(runtime_main([command, *arguments]))
