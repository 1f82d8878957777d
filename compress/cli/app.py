"""The command line: its commands, which parse, call and print.

They import what they call when they run, so that help needs no torch.
"""

from __future__ import annotations

import typer

from compress.cli import build, bundle, estimate, papers, runs
from compress.engine.hush import hush_libraries

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a CLIP teacher and a few images into a tiny quantized classifier, with the proof.",
)
for _module in (build, runs, papers, bundle, estimate):
    app.add_typer(_module.commands)
hush_libraries()
