"""``python -m runtime stream``: steady labels of a camera, a video or a folder of frames."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from itertools import islice
from typing import Any

from runtime.backends import whole_number
from runtime.classifier import Classifier
from runtime.commands.terminal import add_shared, complain
from runtime.commands.trial import Stranger, require_bounded
from runtime.errors import BackendError, ImageError
from runtime.files.strict_json import to_text
from runtime.stream import Steady, Stream
from runtime.stream.frames import frames_of
from runtime.stream.smoothing import FRAMES, MARGIN, WAYS

STATUS_S = 1.0  # between two status lines of a terminal
EXAMPLE = "example: python -m runtime stream bundle/ 0 --frames 12"


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "steady labels of a camera, a video or a folder of frames"
    parser = commands.add_parser("stream", help=about, description=about, epilog=EXAMPLE)
    add_shared(parser)
    what = "number of a camera or a video file (both need OpenCV), pi (a Raspberry Pi's ribbon "
    what += "camera, needs picamera2), or a folder of images"
    parser.add_argument("source", help=what)
    parser.add_argument("--precision", default="auto", help="auto, int8, fp32, ...")
    way = f"how frames are joined: {' or '.join(WAYS)} (default: %(default)s)"
    parser.add_argument("--smoothing", default=next(iter(WAYS)), help=way)
    frames = "frames that take part in an answer; 1: none but the newest (default: %(default)s)"
    parser.add_argument("--frames", type=int, default=FRAMES, help=frames)
    margin = "of shares, by which another label has to lead (default: %(default)s)"
    parser.add_argument("--margin", type=float, default=MARGIN, help=margin)
    parser.add_argument("--limit", type=int, help="stop after so many frames")
    each = "print a line of JSON for each frame"
    parser.add_argument("--jsonl", action="store_true", help=each)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each change of the label, and what was seen at the end.

    Exit code 1 if a frame has no answer, 2 if none has. A frame that cannot be read is named on
    stderr and skipped. Ctrl-C ends a camera.
    """
    limit = None if args.limit is None else whole_number("limit", args.limit)
    require_bounded([Stranger(args.bundle, (args.precision,))], args.threads)
    classifier = Classifier.load(args.bundle, precision=args.precision, threads=args.threads)
    stream = Stream(classifier, args.smoothing, args.frames, args.margin)
    quiet = args.json or args.jsonl
    bad = 0
    with frames_of(args.source) as frames:
        try:
            said = time.monotonic()
            for frame in islice(frames, limit):
                try:
                    answer = stream.push(frame)
                except (ImageError, BackendError) as error:
                    complain(f"error: {error}")
                    bad += 1
                    continue
                if args.jsonl:
                    print(to_text(asdict(answer)), flush=True)
                elif answer.changed and not quiet:
                    print(_row(answer), flush=True)
                if time.monotonic() - said >= STATUS_S and sys.stderr.isatty():
                    said = time.monotonic()
                    rate = f"{stream.frames_per_second:.1f} frames/s"
                    print(f"\r{rate}  {answer.label}\033[K\r", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            if not stream.count:
                raise
    if args.json and not args.jsonl:
        print(to_text(_summary(stream, bad), indent=2))
    elif not args.jsonl and stream.count:
        print("\n".join(_lines(stream)))
    return 0 if not bad else 1 if stream.count else 2


def _row(answer: Steady) -> str:
    return (
        f"{answer.seconds:8.2f} s  frame {answer.frame:<6} {answer.label}  {answer.probability:.0%}"
    )


def _summary(stream: Stream, bad: int) -> dict[str, Any]:
    known = stream.frames_per_second > 0
    return {
        "frames": stream.count,
        "bad_frames": bad,
        "frames_per_second": stream.frames_per_second,
        "changes": stream.changes,
        "changes_without_smoothing": stream.flickers,
        "delay_frames": stream.delay,
        "delay_ms": stream.delay_ms if known else None,
    }


def _lines(stream: Stream) -> list[str]:
    rate = f"{stream.frames_per_second:.1f} frames/s" if stream.frames_per_second else "one frame"
    cost = f", {stream.delay_ms:.0f} ms here" if stream.frames_per_second else ""
    frames = "frame" if stream.delay == 1 else "frames"
    return [
        f"{stream.count} frames, {rate}; {stream.changes} changes of the label, "
        f"{stream.flickers} without smoothing",
        f"a sure change shows after {stream.delay} {frames}{cost}",
    ]
