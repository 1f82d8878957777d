"""``python -m runtime add-class``: new classes of a bundle from a few photos, without training."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.classifier import Classifier
from runtime.commands.terminal import add_shared
from runtime.commands.trial import Stranger, require_bounded
from runtime.files.paths import line, name_of
from runtime.files.strict_json import to_text
from runtime.learning.accuracy import Hits, hits, labeled_photos
from runtime.learning.add_class import Addition, add_class
from runtime.learning.photos import class_folders

FEW = 4  # photos: fewer are told of
EXAMPLE = "example: python -m runtime add-class bundle/ photos-of/tulip --test test-photos/"


@dataclass(frozen=True)
class Tested:
    """Hits by label, before and after; old ones are labels of both."""

    before: Mapping[str, Hits]
    after: Mapping[str, Hits]
    refused: Mapping[str, str]  # file -> why it takes no part

    def old(self, hits_of: Mapping[str, Hits], new: tuple[str, ...]) -> Hits:
        """The hits of all labels but the new ones."""
        return sum((one for label, one in hits_of.items() if label not in new), Hits(0, 0))


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "add classes to a bundle from a few photos, without training"
    parser = commands.add_parser("add-class", help=about, description=about, epilog=EXAMPLE)
    add_shared(parser)
    folder = "photos of the class, or a folder with a subfolder of photos for each class"
    parser.add_argument("folder", type=Path, help=folder)
    parser.add_argument("--name", help="of the class (default: the folder's)")
    out = "a new folder for the bundle with the class (default: in place, in one step)"
    parser.add_argument("--out", type=Path, help=out)
    test = "labeled photos, a subfolder for each label: accuracy before and after"
    parser.add_argument("--test", type=Path, help=test)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Adds the classes and prints what became of the bundle; any failure is an EdgeError."""
    require_bounded([Stranger(args.bundle, ())], args.threads)
    addition, tested = add_and_test(
        args.bundle, args.folder, name=args.name, out=args.out, test=args.test, threads=args.threads
    )
    print(
        to_text(to_json(addition, tested), 2) if args.json else "\n".join(lines(addition, tested))
    )
    return 0


def add_and_test(
    bundle: Path,
    folder: Path,
    *,
    name: str | None,
    out: Path | None,
    test: Path | None,
    threads: int | None,
) -> tuple[Addition, Tested | None]:
    """Adds the classes, and asks both classifiers before and after about labeled photos."""
    how = {"name": name, "out": out, "threads": threads}
    if test is None:
        return add_class(bundle, folder, **how), None  # type: ignore[arg-type]
    old = Classifier.load(bundle, threads=threads)
    new = tuple(one.name for one in class_folders(folder, name, old.labels))
    photos = labeled_photos(test, (*old.labels, *new))
    refused: dict[str, str] = {}
    before = hits(old, photos, refused)
    addition = add_class(bundle, folder, **how)  # type: ignore[arg-type]
    after = hits(Classifier.load(addition.bundle, threads=threads), photos, refused)
    return addition, Tested(before, after, refused)


def to_json(addition: Addition, tested: Tested | None) -> dict[str, Any]:
    """The public form."""
    document = {**asdict(addition), "bundle": name_of(addition.bundle)}
    for one in document["classes"]:
        one["found"] = {k: None if math.isnan(v) else v for k, v in one["found"].items()}
    if tested is not None:
        document["test"] = asdict(tested)
    return document


def lines(addition: Addition, tested: Tested | None) -> Iterator[str]:
    """What is printed."""
    for one in addition.classes:
        photos = "1 photo" if one.photos == 1 else f"{one.photos} photos"
        found = next(iter(one.found.values()))
        shares = [
            f"{key} finds {share * one.photos:.0f} of them by the others"
            for key, share in one.found.items()
            if not math.isnan(share)
        ]
        yield "; ".join([f"{line(one.name)}: {photos}, most like {line(one.nearest)}", *shares])
        if one.photos < FEW:
            yield f"  few photos say little: {FEW} or more are better, from several places"
        elif found < 0.5:
            yield "  the photos are unlike each other, or like other classes: expect mistakes"
        for file, why in one.skipped.items():
            yield f"  does not count: {name_of(Path(file), on_a_line=True)}: {why}"
    if addition.dropped:
        names = ", ".join(addition.dropped)
        yield f"dropped, since they cannot take a class: {names}; compress export adds them again"
    if tested is not None:
        yield from _table(tested, tuple(one.name for one in addition.classes))
    yield f"bundle  {name_of(addition.bundle, on_a_line=True)}, {addition.labels} classes"


def _table(tested: Tested, new: tuple[str, ...]) -> Iterator[str]:
    rows = [("old classes", tested.old(tested.before, new), tested.old(tested.after, new))]
    rows += [(label, Hits(0, 0), tested.after[label]) for label in new if label in tested.after]
    width = max(len(line(row[0])) for row in rows)
    yield f"{'':{width}}   before    after  test photos"
    for label, before, after in rows:
        first = f"{before.share:7.1%}" if before.count else "      -"
        yield f"{line(label):{width}}  {first}  {after.share:7.1%}  {after.count:>11,}"
    if tested.refused:
        file, why = next(iter(tested.refused.items()))
        named = name_of(Path(file), on_a_line=True)
        yield f"{len(tested.refused)} cannot be read, e.g. {named}: {why}"
