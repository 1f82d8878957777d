"""Asks a bundle about the images of a folder, and chooses those that are worth a label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.engine.errors import DataError
from compress.engine.progress import SILENT, Progress
from compress.engine.text import user_path
from compress.suggest.choose import choose, uncertainties
from runtime.bundle import FEATURES
from runtime.classifier import LOGITS, Classifier, softmax
from runtime.errors import ImageError
from runtime.files.paths import line, name_of
from runtime.preprocess.image_files import images_below

AT_ONCE = 16  # images
READERS = 4  # threads that decode


@dataclass(frozen=True)
class Suggestion:
    """An image to label."""

    path: str  # below the folder
    score: float
    uncertainty: float
    distance: float
    guess: str  # the likeliest class
    probability: float
    second: str
    second_probability: float
    known: bool | None  # whether the bundle takes it for one of its classes; None: it cannot tell


@dataclass(frozen=True)
class Suggestions:
    """What is worth a label in a folder."""

    folder: Path
    rows: tuple[Suggestion, ...]
    images: int  # that could be read
    copies: int  # of one of them, byte for byte in what the model sees
    unreadable: dict[str, str]  # path -> why
    crops: tuple[NDArray[np.uint8], ...]  # of the rows, (S, S, 3)


def suggest_images(
    bundle: str | Path,
    folder: str | Path,
    count: int,
    *,
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Suggestions:
    """The ``count`` images at and below ``folder`` that are most worth a label.

    Raises:
        DataError: no image, or none that can be read.
        BundleError: a bundle that is damaged or has no features.
    """
    model = Classifier.load(bundle, precision=precision, threads=threads)
    model.require_features()
    given = user_path(folder)
    files = images_below(given) if given.is_dir() else []
    if not files:
        raise DataError(f"{given} holds no image", expected="a folder of unlabeled images")
    names: list[str] = []
    crops: list[NDArray[np.uint8]] = []
    answers: list[dict[str, NDArray[np.float32]]] = []
    faults: dict[str, str] = {}
    seen: set[bytes] = set()
    copies = 0
    for part in _read(model, files, given, progress):
        fresh = []
        for name, pixels in part:
            if isinstance(pixels, str):
                faults[name] = pixels
                continue
            content = hashlib.sha256(pixels.tobytes()).digest()
            if content in seen:
                copies += 1
                continue
            seen.add(content)
            names.append(name)
            fresh.append(pixels)
        crops += fresh
        answers += [_answer(model, pixels) for pixels in fresh]
    if not names:
        name, why = next(iter(faults.items()))
        raise DataError(f"no image of {given} can be read", got=line(f"{name}: {why}"))
    logits, features = (
        np.concatenate([one[key] for one in answers]).astype(np.float64)
        for key in (LOGITS, FEATURES)
    )
    probabilities = softmax(logits / model.temperature)
    rule = model.rejection
    prototypes = None if rule is None else rule.prototypes
    known = np.empty((0, features.shape[1])) if prototypes is None else prototypes
    chosen = choose(features, uncertainties(probabilities), known.astype(np.float64), count)
    places = [one.index for one in chosen]
    flags = None if rule is None else rule.known(logits[places], features[places])
    rows = []
    for at, one in enumerate(chosen):
        order = np.argsort(-probabilities[one.index], kind="stable")
        first, second = int(order[0]), int(order[1]) if len(order) > 1 else int(order[0])
        shares = probabilities[one.index]
        rows.append(
            Suggestion(
                names[one.index],
                one.score,
                one.uncertainty,
                one.distance,
                model.labels[first],
                float(shares[first]),
                model.labels[second],
                float(shares[second]),
                None if flags is None else bool(flags[at]),
            )
        )
    shown = tuple(crops[place] for place in places)
    return Suggestions(given, tuple(rows), len(names), copies, faults, shown)


def _read(
    model: Classifier, files: list[Path], folder: Path, progress: Progress
) -> Iterator[list[tuple[str, NDArray[np.uint8] | str]]]:
    """Names and crops of images, a part at a time; of one that cannot be read, why."""

    def read(file: Path) -> tuple[str, NDArray[np.uint8] | str]:
        name = name_of(file.relative_to(folder))
        try:
            return name, model.pixels(file)[0]
        except ImageError as error:
            return name, line(error)

    with (
        ThreadPoolExecutor(READERS) as threads,
        progress.task("suggest", total=len(files), unit="image") as task,
    ):
        for start in range(0, len(files), AT_ONCE):
            part = files[start : start + AT_ONCE]
            yield list(threads.map(read, part))
            task.advance(len(part))


def _answer(model: Classifier, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """One image at a time: its bits do not depend on its neighbors."""
    return model.runner.run_all(model.feed(pixels[None]), (LOGITS, FEATURES))
