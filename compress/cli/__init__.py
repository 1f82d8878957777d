"""The command line."""

from compress.cli.entry import main

__all__ = ["main"]
