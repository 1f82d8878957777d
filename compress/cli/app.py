"""The command line: its commands, and how errors end it.

Commands parse, call and print. They import what they call when they run, so that help needs no
torch.
"""

from __future__ import annotations

import logging

import typer

from compress.cli import build, bundle, estimate, papers, runs
from compress.engine.errors import BudgetUnmetError, Clip2EdgeError
from runtime.errors import EdgeError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a CLIP teacher and a few images into a tiny quantized classifier, with the proof.",
)
for _module in (build, runs, papers, bundle, estimate):
    app.add_typer(_module.commands)


def main() -> None:
    """Entry point of ``compress``: errors become one line on stderr and an exit code.

    1: a budget is not kept; 2: any other error raised on purpose; 130: interrupted.
    """
    # they warn about each other, and a user can do nothing about it
    for name in ("torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        app()
    except BudgetUnmetError as error:
        typer.echo(f"FAIL: {error}", err=True)
        raise SystemExit(1) from error
    except (Clip2EdgeError, EdgeError) as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        typer.echo("stopped: run the same command again to go on where it was", err=True)
        raise SystemExit(130) from None
