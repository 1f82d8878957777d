"""``python -m runtime verify``: the first step that differs from the build."""

from __future__ import annotations

import argparse
from typing import Any

from runtime import golden
from runtime.backends.limited import SECONDS
from runtime.commands.terminal import add_shared, complain
from runtime.files.strict_json import to_text


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "name the first step that differs from the build"
    limits = f"Each model may take {SECONDS} s and 2 GiB, and more by the size of its file."
    parser = commands.add_parser("verify", help=about, description=f"{about}. {limits}")
    add_shared(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Repeats the golden steps; exit code 1 if one differs, or no model could be verified."""
    steps = golden.verify(args.bundle, threads=args.threads)
    first = golden.first_difference(steps)
    if args.json:
        print(to_text([step.to_json() for step in steps], indent=2))
    else:
        width = max(len(step.name) for step in steps)
        for step in steps:
            print(f"{step.state:8} {step.name:{width}}  {step.detail}")
        if first:
            print(f"first difference: {first.name}. {first.remedy}")
    nothing = golden.unverified(steps)
    if nothing and not first:
        complain(f"error: {nothing}")
    return 1 if first or nothing else 0
