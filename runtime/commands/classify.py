"""``python -m runtime classify``: the likeliest labels of images."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.backends import whole_number
from runtime.classifier import Classifier, Prediction
from runtime.commands.terminal import add_shared, complain
from runtime.commands.trial import Stranger, require_bounded
from runtime.errors import BackendError, ImageError, harmless
from runtime.files.paths import line, name_of
from runtime.files.strict_json import to_text
from runtime.preprocess.image_files import advice, images_below


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "label images and folders of them (a single model.*.onnx works too)"
    parser = commands.add_parser("classify", help=about)
    add_shared(parser)
    images = "images, and folders of them: all images below, sorted"
    parser.add_argument("images", type=Path, nargs="+", help=images)
    parser.add_argument("--precision", default="auto", help="auto, int8, fp32, ...")
    parser.add_argument("--top-k", type=int, default=5)
    each = "print a line of JSON for each image, as soon as it is classified"
    parser.add_argument("--jsonl", action="store_true", help=each)
    reject = "say 'not sure' of images that show none of the classes, the guesses in brackets"
    parser.add_argument("--reject", action="store_true", help=reject)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Prints the likeliest labels of each image; exit code 1 if one has no answer, 2 if none has.

    An image without an answer is named on stderr, with --json and --jsonl also in the output.
    """
    top_k = whole_number("top_k", args.top_k)
    require_bounded([Stranger(args.bundle, (args.precision,))], args.threads)
    classifier = Classifier.load(args.bundle, precision=args.precision, threads=args.threads)
    if args.reject:
        classifier.require_rejection()
    table: dict[str, Any] = {}
    bad = 0
    images = list(_files(args.images))
    for image in images:
        name = name_of(image)
        try:
            if os.path.isdir(image) and not images_below(image):
                raise ImageError(
                    f"{name_of(image, on_a_line=True)} holds no image",
                    expected="images in the folder",
                )
            guesses = classifier.predict(image, top_k=top_k)
            answer: Any = [asdict(guess) for guess in guesses]
        except (ImageError, BackendError) as error:
            hint = advice(image) if isinstance(error, ImageError) else None
            reason = f"{error} · {hint}" if hint else str(error)
            complain(f"error: {reason}")
            answer = {"error": line(reason)}
            bad += 1
        table[name] = answer
        if args.jsonl:
            said = answer if isinstance(answer, dict) else {"labels": answer}
            print(to_text({"image": name, **said}), flush=True)
        elif not args.json and isinstance(answer, list):
            shown = (name_of(image, on_a_line=True), *_rows(guesses, args.reject))
            print(*map(harmless, shown), sep="\n")
    if args.json and not args.jsonl:
        print(to_text(table, indent=2))
    if bad > 1:
        complain(f"{bad} of {len(images)} have no answer")
    return 0 if not bad else 1 if bad < len(images) else 2


def _rows(guesses: Sequence[Prediction], reject: bool) -> Iterator[str]:
    """A line for each guess; of an image that is not known, in brackets below "not sure"."""
    if reject and guesses and guesses[0].known is False:
        yield "  not sure"
        yield from (f"  ({guess.probability:6.1%}  {guess.label})" for guess in guesses)
        return
    yield from (f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses)


def _files(given: Iterable[Path]) -> Iterable[Path]:
    """The images of a command line, each once; a folder without any stands for itself."""
    below = ((one, images_below(one) if os.path.isdir(one) else ()) for one in given)
    return dict.fromkeys(path for one, found in below for path in found or (one,))
