"""``python -m runtime classify|bench|verify|engine|doctor``: the device commands, on argparse."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime import golden
from runtime.backends import whole_number
from runtime.classifier import Classifier
from runtime.commands import bench, doctor, engine
from runtime.commands.terminal import Stopped, complain, drop_output, show_everything, stoppable
from runtime.errors import BackendError, EdgeError, ImageError
from runtime.files.paths import line, name_of, user_path
from runtime.files.strict_json import to_text
from runtime.files.system import system_fault

FAILED = 2
INTERRUPTED = 128 + 2  # as a shell counts signals: SIGINT
TERMINATED = 128 + 15  # SIGTERM


def classify(args: argparse.Namespace) -> int:
    """Prints the likeliest labels of each image; exit code 1 if one has no answer, 2 if none has.

    An image without an answer is named on stderr, with --json also in the table.
    """
    top_k = whole_number("top_k", args.top_k)
    classifier = Classifier.load(args.bundle, precision=args.precision, threads=args.threads)
    table: dict[str, Any] = {}
    for image in dict.fromkeys(args.images):
        name = name_of(image)
        try:
            guesses = classifier.predict(image, top_k=top_k)
        except (ImageError, BackendError) as error:
            complain(f"error: {error}")
            table[name] = {"error": name_of(Path(str(error)))}
            continue
        table[name] = [asdict(guess) for guess in guesses]
        if not args.json:
            rows = (f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses)
            print(line(name), *rows, sep="\n")
    if args.json:
        print(to_text(table, indent=2))
    answered = [isinstance(row, list) for row in table.values()]
    return 0 if all(answered) else 1 if any(answered) else FAILED


def verify(args: argparse.Namespace) -> int:
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


def main(argv: list[str] | None = None) -> int:
    """Runs one command; an error is one line on stderr and exit code 2."""
    show_everything()
    args = _parser().parse_args(argv)
    try:
        with stoppable():
            code: int = args.command(args)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # head or less has left
        drop_output()
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except Stopped:
        complain("terminated")
        return TERMINATED
    except EdgeError as error:
        complain(f"error: {error}")
    except (OSError, MemoryError) as error:
        fault = system_fault(error)
        complain(f"error: {fault.what} · got {fault.got} · {fault.remedy}" if fault else error)
        drop_output()
    return FAILED


def _parser() -> argparse.ArgumentParser:
    about = "Use a clip2edge bundle on this machine."
    parser = argparse.ArgumentParser(prog="python -m runtime", description=about)
    commands = parser.add_subparsers(required=True, metavar="classify|bench|verify|engine|doctor")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("bundle", type=user_path, help="bundle folder, or a zipped one")
    cores = "compute threads (default: the usable physical cores)"
    shared.add_argument("--threads", type=int, help=cores)
    shared.add_argument("--json", action="store_true", help="print JSON")

    about = "label images (a single model.*.onnx works too)"
    labels = commands.add_parser("classify", parents=[shared], help=about)
    labels.add_argument("images", type=user_path, nargs="+")
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
