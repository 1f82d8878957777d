"""The command line: its commands, which parse, call and print.

They import what they call when they run, so that help needs no torch.
"""

from __future__ import annotations

import logging

import typer

from compress.cli import build, bundle, estimate, papers, runs

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a CLIP teacher and a few images into a tiny quantized classifier, with the proof.",
)
for _module in (build, runs, papers, bundle, estimate):
    app.add_typer(_module.commands)
# they warn about each other, and a user can do nothing about it
for _name in ("torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
    logging.getLogger(_name).setLevel(logging.ERROR)
