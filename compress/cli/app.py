"""The command line: its commands, which parse, call and print.

They import what they call when they run, so that help needs no torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from compress.cli import build, bundle, estimate, papers, runs
from compress.engine.hush import hush_libraries

NEXT = """\
clip2edge turns a CLIP teacher and a few images into a tiny quantized classifier, with the proof.
  compress build --dataset petals --shots 4    a first run: offline, minutes
  compress build --data photos/ --shots 8      your images: photos/<class>/*.jpg
  compress doctor                              what this machine can build, run and measure
  compress show                                the runs so far; compress -h lists all commands"""

app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def compress(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop")] = False,
) -> None:
    """Turn a CLIP teacher and a few images into a tiny quantized classifier, with the proof."""
    if version:
        from compress.engine.versions import versions

        typer.echo(versions()["clip2edge"])
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(NEXT)


for _module in (build, runs, papers, bundle, estimate):
    app.add_typer(_module.commands)
hush_libraries()
