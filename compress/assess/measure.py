"""Classifies the labeled images of a folder with a bundle, and counts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from compress.assess.matching import Matching, match_classes, require_matches
from compress.assess.result import Coverage, Evaluation, Mistake, cells, class_results
from compress.assess.training import TrainingImages, training_images
from compress.data.artifact import TEST
from compress.data.copies.duplicates import Duplicates
from compress.data.folders.labeled import Labeled, labeled_images
from compress.data.folders.levels import Level
from compress.data.images.reading import digest_of, reason_of
from compress.data.images.unreadable import CHECK, MOST_UNREADABLE
from compress.data.split import Split
from compress.data.summary import Copies, CopyOf, KeyedReason
from compress.engine.errors import DataError
from compress.engine.progress import SILENT, Progress
from compress.engine.text import user_path
from compress.evaluate.metrics import ReliabilityBin, evaluate, softmax, wilson
from compress.evaluate.temperature import at_temperature
from runtime.bundle import Label
from runtime.classifier import Classifier
from runtime.errors import ImageError
from runtime.files.paths import bundle_path, line

AT_ONCE = 8  # decoded images in memory, each of up to 64 megapixels
THUMBNAILS = 24  # of the surest mistakes
READERS = 4  # threads that decode
#: where the classes can be besides the outer folders: inside them, or a single folder around them
OTHER_LEVELS: tuple[tuple[Level, bool], ...] = (("leaf", False), ("merged", False), ("top", True))


def evaluate_bundle(
    bundle: str | Path,
    folder: str | Path,
    *,
    split: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Evaluation:
    """A bundle's accuracy on the labeled images of a folder or an archive.

    Raises:
        DataError: no class is a label of the bundle, or no image can be read.
        BundleError, BackendError: as ``Classifier.load``.
    """
    classifier = Classifier.load(bundle, precision=precision, threads=threads)
    given = user_path(folder)
    with tempfile.TemporaryDirectory(prefix="clip2edge-") as archives:
        images, matching = _read(given, Path(archives), split, classifier.label_rows)
        require_matches(matching, classifier.label_rows, given, images.notes)
        trained = training_images(bundle_path(bundle), classifier.spec.interpolation)
        return _evaluate(str(bundle), classifier, given, images, matching, trained, progress)


def _read(
    folder: Path, archives: Path, split: str | None, labels: tuple[Label, ...]
) -> tuple[Labeled, Matching]:
    """The images with their classes matched: of nested folders the level that fits best."""
    images = labeled_images(folder, archives, split=split)
    best = images, match_classes(images.classes, labels)
    for level, above in OTHER_LEVELS:
        if not best[1].unknown:
            break
        try:
            images = labeled_images(folder, archives, level, split, above)
        except DataError:  # there are no classes
            continue
        matching = match_classes(images.classes, labels)
        if _used(images, matching) > _used(*best):
            best = images, matching
    return best


def _used(images: Labeled, matching: Matching) -> int:
    """The images that have a label."""
    counts = _counts(images)
    return sum(counts[name] for name in matching.labels)


def _counts(images: Labeled) -> dict[str, int]:
    found = np.bincount(images.images.labels, minlength=len(images.classes)).tolist()
    return {entry.name: count for entry, count in zip(images.classes, found, strict=True)}


def _evaluate(
    name: str,
    classifier: Classifier,
    folder: Path,
    images: Labeled,
    matching: Matching,
    trained: TrainingImages | None,
    progress: Progress,
) -> Evaluation:
    known = matching.labels
    numbers = np.array([known.get(entry.name, -1) for entry in images.classes], np.int64)
    rows = np.flatnonzero(numbers[images.images.labels] >= 0)
    used = images.images.subset(rows)
    raw, seen, digests, faults = _classify(classifier, used, trained, progress)
    logits = at_temperature(raw, classifier.temperature)  # as predict has them
    read = np.array([key not in faults for key in used.keys], bool)
    _require_readable(folder, len(read), faults)
    truth = numbers[used.labels[read]]
    keys = np.array(used.keys)[read].tolist()
    shots = [key for key, was in zip(keys, seen, strict=True) if was]
    duplicates = Duplicates()
    for key, label, digest in zip(keys, truth.tolist(), digests, strict=True):
        duplicates.add(TEST, key, classifier.labels[label], digest)
    figures = evaluate(logits, truth)
    matrix = np.array(figures["confusion"], np.int64)
    mistakes, places = _mistakes(logits, truth, used.subset(np.flatnonzero(read)), classifier)
    counts = _counts(images)
    return Evaluation(
        bundle=name,
        precision=classifier.precision,
        sha256=classifier.sha256,
        labels=len(classifier.labels),
        tested=Coverage(
            source=images.name,
            folder=str(folder),
            split=images.split,
            others=images.others,
            matched=matching.matches,
            unknown={one: counts[one] for one in matching.unknown},
            ambiguous=matching.ambiguous,
            without_images=tuple(
                label for k, label in enumerate(classifier.labels) if not (truth == k).any()
            ),
            unreadable=_reasons(images.missing) + _listed(faults),
            left_out=images.left_out,
            notes=(*duplicates.notes, *images.notes),
            equal=tuple(
                Copies("equal", tuple(CopyOf(*row.values()) for row in group))
                for group in duplicates.groups
            ),
            trained_on=tuple(shots) if trained else None,
        ),
        **{key: figures[key] for key in ("n", "correct", "top1", "macro_f1", "ece", "nll")},
        ci95=tuple(figures["ci95"]),
        reliability=tuple(ReliabilityBin(**row) for row in figures["reliability"]),
        per_class=class_results(matrix, classifier.labels),
        confusion=cells(matrix, classifier.labels),
        mistakes=mistakes,
        new=_new(logits[~seen], truth[~seen]) if shots else None,
        thumbnails=_thumbnails(classifier, used.subset(np.flatnonzero(read)), places),
    )


def _require_readable(folder: Path, images: int, faults: Mapping[str, str]) -> None:
    """Raises DataError if no image, or only the smaller part of them, can be read, as a build."""
    first = line(": ".join(next(iter(faults.items()), ("classes without images",))))
    if images == len(faults):
        expected = "images of at least one of the bundle's labels"
        raise DataError(f"no image of {folder} can be read", got=first, expected=expected)
    if len(faults) > MOST_UNREADABLE * images:
        got = f"{images - len(faults)} readable of {images}, e.g. {first}"
        raise DataError(f"most images of {folder} cannot be read", got=got, remedy=CHECK)


def _new(logits: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Accuracy on images that the build did not train on."""
    n, correct = len(truth), int((logits.argmax(axis=1) == truth).sum())
    if not n:
        return {"n": 0, "correct": 0, "top1": None, "ci95": None}
    return {"n": n, "correct": correct, "top1": correct / n, "ci95": wilson(correct, n)}


def _classify(
    classifier: Classifier, split: Split, trained: TrainingImages | None, progress: Progress
) -> tuple[np.ndarray, np.ndarray, list[bytes], dict[str, str]]:
    """Logits (n, K) of the images that a device can read, and which of them were shots, bool (n,).

    Also digests of their pixels, and the reasons why the others cannot be read, by path.
    """
    parts = [np.empty((0, len(classifier.labels)), np.float32)]
    seen = [np.empty(0, bool)]
    digests: list[bytes] = []
    faults: dict[str, str] = {}

    def read(index: int) -> Image.Image | str:
        try:
            return split.image(index)
        except ImageError as error:
            return reason_of(error, split.load(index))

    with (
        ThreadPoolExecutor(READERS) as threads,
        progress.task("evaluate", total=len(split), unit="image") as task,
    ):
        for start in range(0, len(split), AT_ONCE):
            part = range(start, min(start + AT_ONCE, len(split)))
            decoded = []
            for index, result in zip(part, threads.map(read, part), strict=True):
                if isinstance(result, str):
                    faults[split.keys[index]] = result
                else:
                    decoded.append(result)
            if decoded:
                parts.append(classifier.logits(decoded))
                digests += [digest_of(np.asarray(image)) for image in decoded]
                none = np.zeros(len(decoded), bool)
                seen.append(trained.among(decoded) if trained else none)
            task.advance(len(part))
    return np.concatenate(parts), np.concatenate(seen), digests, faults


def _mistakes(
    logits: np.ndarray, truth: np.ndarray, split: Split, classifier: Classifier
) -> tuple[tuple[Mistake, ...], list[int]]:
    """All wrong answers, the surest first, and their places in the split."""
    probabilities = softmax(logits)
    answers = logits.argmax(axis=1)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != truth)
    places = wrong[np.argsort(-sure[wrong], kind="stable")].tolist()
    names = classifier.labels
    return tuple(
        Mistake(
            split.keys[i],
            names[truth[i]],
            names[answers[i]],
            round(float(sure[i]), 4),
            round(float(probabilities[i, truth[i]]), 4),
        )
        for i in places
    ), places


def _thumbnails(classifier: Classifier, split: Split, places: list[int]) -> dict[str, np.ndarray]:
    """What the model saw of the surest mistakes."""
    return {split.keys[i]: classifier.pixels([split.image(i)])[0] for i in places[:THUMBNAILS]}


def _listed(reasons: Mapping[str, str]) -> tuple[KeyedReason, ...]:
    return tuple(KeyedReason(key, reason) for key, reason in reasons.items())


def _reasons(rows: Any) -> tuple[KeyedReason, ...]:
    return tuple(KeyedReason(row["key"], row["reason"]) for row in rows)
