"""``python -m runtime classify``: the likeliest labels of images."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.backends import whole_number
from runtime.classifier import Classifier
from runtime.commands.terminal import add_shared, complain
from runtime.commands.trial import Stranger, require_bounded
from runtime.errors import BackendError, ImageError
from runtime.files.paths import line, name_of
from runtime.files.strict_json import to_text


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "label images (a single model.*.onnx works too)"
    parser = commands.add_parser("classify", help=about)
    add_shared(parser)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--precision", default="auto", help="auto, int8, fp32, ...")
    parser.add_argument("--top-k", type=int, default=5)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Prints the likeliest labels of each image; exit code 1 if one has no answer, 2 if none has.

    An image without an answer is named on stderr, with --json also in the table.
    """
    top_k = whole_number("top_k", args.top_k)
    require_bounded([Stranger(args.bundle, (args.precision,))], args.threads)
    classifier = Classifier.load(args.bundle, precision=args.precision, threads=args.threads)
    table: dict[str, Any] = {}
    for image in dict.fromkeys(args.images):
        name = name_of(image)
        try:
            guesses = classifier.predict(image, top_k=top_k)
        except (ImageError, BackendError) as error:
            complain(f"error: {error}")
            table[name] = {"error": line(error)}
            continue
        table[name] = [asdict(guess) for guess in guesses]
        if not args.json:
            rows = (f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses)
            print(line(name), *rows, sep="\n")
    if args.json:
        print(to_text(table, indent=2))
    answered = [isinstance(row, list) for row in table.values()]
    return 0 if all(answered) else 1 if any(answered) else 2
