"""``python -m runtime classify|bench|verify|engine|doctor``: the device commands, on argparse."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from runtime import golden
from runtime.classifier import Classifier
from runtime.commands import bench, doctor, engine
from runtime.errors import EdgeError
from runtime.files.home import expanded


def classify(args: argparse.Namespace) -> int:
    """Prints the likeliest labels of each image."""
    classifier = Classifier.load(args.bundle, precision=args.precision, threads=args.threads)
    results = {str(image): classifier.predict(image, top_k=args.top_k) for image in args.images}
    if args.json:
        table = {image: [asdict(guess) for guess in guesses] for image, guesses in results.items()}
        print(json.dumps(table, indent=2))
        return 0
    for image, guesses in results.items():
        rows = (f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses)
        print(image, *rows, sep="\n")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Repeats the golden steps; exit code 1 if one differs."""
    steps = golden.verify(args.bundle, threads=args.threads)
    first = golden.first_difference(steps)
    if args.json:
        print(json.dumps([step.to_json() for step in steps], indent=2))
    else:
        width = max(len(step.name) for step in steps)
        for step in steps:
            print(f"{step.state:8} {step.name:{width}}  {step.detail}")
        if first:
            print(f"first difference: {first.name}. {first.remedy}")
    return 1 if first else 0


def main(argv: list[str] | None = None) -> int:
    """Runs one command; an error is one line on stderr and exit code 2."""
    args = _parser().parse_args(expanded(sys.argv[1:] if argv is None else argv))
    try:
        code: int = args.command(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # head or less has left; without this Python complains at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    about = "Use a clip2edge bundle on this machine."
    parser = argparse.ArgumentParser(prog="python -m runtime", description=about)
    commands = parser.add_subparsers(required=True, metavar="classify|bench|verify|engine|doctor")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("bundle", type=Path, help="bundle folder")
    cores = "compute threads (default: the usable physical cores)"
    shared.add_argument("--threads", type=int, help=cores)
    shared.add_argument("--json", action="store_true", help="print JSON")

    about = "label images (a single model.*.onnx works too)"
    labels = commands.add_parser("classify", parents=[shared], help=about)
    labels.add_argument("images", type=Path, nargs="+")
    labels.add_argument("--precision", default="auto", help="auto, int8, fp32, ...")
    labels.add_argument("--top-k", type=int, default=5)
    labels.set_defaults(command=classify)
    bench.add_parser(commands)
    about = "name the first step that differs from the build"
    commands.add_parser("verify", parents=[shared], help=about).set_defaults(command=verify)
    engine.add_parser(commands)
    doctor.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
