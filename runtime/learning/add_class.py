"""Adds classes to a bundle from a few photos, without training.

A class is the mean of its photos' features, its prototype (Snell et al., NeurIPS 2017, arXiv
1703.05175); its logit is the cosine with it, on the scale of the other logits
(``runtime.learning.calibration``). The classes go into the files of the models, the labels, the
golden vectors and the prototypes of rejection, so every reader of the bundle finds them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.backends import finite
from runtime.bundle import FEATURES, MANIFEST, Bundle, open_bundle
from runtime.classifier import LOGITS, Classifier
from runtime.errors import BundleError, ImageError
from runtime.files.confidence import CONFIDENCE, prototypes_in
from runtime.files.paths import bundle_path, line, name_of
from runtime.files.swap import restore, swap
from runtime.files.zipped import unpacked
from runtime.learning.calibration import (
    Answers,
    centered,
    margins,
    offset_from,
    prototypes_of,
    rounded,
    scale_of,
)
from runtime.learning.photos import class_folders, decoded_photos
from runtime.learning.write import NewClass, write_added

VIEWS = 2  # of a photo
CALIBRATED = ("fp32", "int8")  # models that are run; the others of a bundle compute what these do
REBUILD = "compress build makes bundles that can: build it again, with photos of all classes"


@dataclass(frozen=True)
class AddedClass:
    """A class that was added."""

    name: str
    photos: int  # that count
    found: Mapping[str, float]  # model -> share of them that it finds by what the others show
    nearest: str  # the old class that looks most like it
    skipped: Mapping[str, str]  # file -> why it does not count


@dataclass(frozen=True)
class Addition:
    """What became of a bundle."""

    bundle: Path  # the one that has the new classes
    classes: tuple[AddedClass, ...]
    labels: int  # of the bundle now
    dropped: tuple[str, ...]  # export targets that cannot take new classes, and are gone


def add_class(
    bundle: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    out: str | Path | None = None,
    threads: int | None = None,
) -> Addition:
    """Adds the class in ``folder``, or one for each of its subfolders, to a bundle.

    Args:
        bundle: its folder; a zipped one with ``out`` only.
        folder: a few photos of the class, or a folder of them for each class.
        name: of the one class; default: the folder's.
        out: a new folder for the bundle with the new classes. Default: in place and in one step, so
            that a kill leaves the bundle of before or the new one.

    Raises:
        BundleError: a damaged bundle, one without features or prototypes, a class that it has
            already, or ``out`` that exists.
        ImageError: no photo that can be read.
    """
    path = Path(os.path.realpath(bundle_path(bundle)))
    restore(path)
    goal = path if out is None else Path(os.path.realpath(out))
    if out is not None and os.path.lexists(goal):
        remedy = "remove it or choose another name"
        raise BundleError(f"{goal} exists already", expected="a new folder", remedy=remedy)
    if out is None and path.is_file():
        remedy = "unpack it, or name a new folder with --out"
        raise BundleError("a file cannot take a class in place", got=path, remedy=remedy)
    with unpacked(path) as home:
        opened = open_bundle(home)
        learned, told = _learn(opened, Path(folder), name, threads)
        with _beside(goal) as scratch:
            whole = scratch / "whole"
            dropped = write_added(opened, whole, learned, listed_only=out is not None)
            opened.require_unchanged(MANIFEST)
            if out is None:
                swap(whole, goal)
            else:
                os.replace(whole, goal)
    return Addition(goal, told, len(opened.labels) + len(learned), dropped)


def _learn(
    bundle: Bundle, folder: Path, name: str | None, threads: int | None
) -> tuple[list[NewClass], tuple[AddedClass, ...]]:
    """The classes in a folder, as a bundle takes them, and what is told of them."""
    folders = class_folders(folder, name, [label.name for label in bundle.labels])
    known = _prototypes(bundle)
    models = {key: _model(bundle, key, threads) for key in CALIBRATED if key in bundle.models}
    scales = {key: _scale(bundle, key, known) for key in models}
    pixels: list[np.ndarray] = []
    labels: list[int] = []
    skipped: list[dict[str, str]] = []
    for index, one in enumerate(folders):
        refused: dict[str, str] = {}
        found = list(decoded_photos(one.files, refused))
        if not found:
            file, why = next(iter(refused.items()))
            what = f"no photo of {line(one.name)!r} can be read"
            raise ImageError(what, got=f"{name_of(Path(file), on_a_line=True)}: {why}")
        first = next(iter(models.values()))
        pixels += [view for photo in found for view in _views(first.pixels(photo)[0])]
        labels += [index] * VIEWS * len(found)
        skipped.append(refused)
    of = np.array(labels)
    photos = np.arange(len(of)) // VIEWS
    views = np.stack(pixels)
    answers = {key: _answers(model, views) for key, model in models.items()}
    rows = prototypes_of(next(iter(answers.values())).features, of, len(folders))
    new = centered(np.concatenate([known, rows]))[len(known) :].astype(np.float32)
    counts = np.bincount(of) // VIEWS
    learned = []
    won_by = {key: margins(one, of, photos, known, scales[key]) for key, one in answers.items()}
    offsets = {
        key: [offset_from(one, scales[key]) for one in classes] for key, classes in won_by.items()
    }
    for index, one in enumerate(folders):
        calibrated = {
            key: {"scale": rounded(scales[key]), "offset": rounded(offsets[key][index])}
            for key in models
        }
        about = (new[index], rows[index], int(counts[index]), calibrated)
        learned.append(NewClass(one.name, *about))
    told = tuple(
        AddedClass(
            one.name,
            int(counts[index]),
            {key: _share(won[index] + offsets[key][index] > 0) for key, won in won_by.items()},
            bundle.labels[int((known @ rows[index]).argmax())].name,
            skipped[index],
        )
        for index, one in enumerate(folders)
    )
    return learned, told


def _share(found: np.ndarray) -> float:
    """Of photos that are found; NaN of none."""
    return float(found.mean()) if len(found) else float("nan")


def _views(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
    """A photo as the device sees it (S, S, 3), and mirrored."""
    return pixels, pixels[:, ::-1]


def _model(bundle: Bundle, key: str, threads: int | None) -> Classifier:
    model = Classifier.load(bundle.path, key, threads=threads, verify=False)
    if not model.has_features:
        got = f"outputs {', '.join(model.runner.outputs)}"
        what = f"a class cannot be added to {bundle.path}: its {key} model has no features"
        raise BundleError(what, got=got, expected=f"an output {FEATURES!r}", remedy=REBUILD)
    return model


def _prototypes(bundle: Bundle) -> np.ndarray:
    """The prototypes (K, D) of a bundle's classes."""
    part = bundle.manifest.get(CONFIDENCE, {}).get("rejection") or {}
    name = part.get("prototypes")
    if name is None:
        what = f"a class cannot be added to {bundle.path}: it has no prototypes of its classes"
        raise BundleError(what, got="a bundle of before, or of synthetic data", remedy=REBUILD)
    return prototypes_in(bundle.path / name, len(bundle.labels))


def _scale(bundle: Bundle, key: str, known: np.ndarray) -> float:
    scale = scale_of(bundle.manifest, key, known)
    if scale is None or not scale > 0:
        what = f"a class cannot be added to {bundle.path}: nothing says how large its logits are"
        raise BundleError(what, got=f"scale {scale} of {key}", remedy=REBUILD)
    return scale


def _answers(model: Classifier, views: np.ndarray) -> Answers:
    """Logits and features of crops (N, S, S, 3), one at a time: the same bits for any number."""
    ran = [model.runner.run_all(model.feed(view[None]), (LOGITS, FEATURES)) for view in views]
    parts = (
        finite(np.concatenate([one[name] for one in ran]), name) for name in (LOGITS, FEATURES)
    )
    return Answers(*parts)


@contextmanager
def _beside(goal: Path) -> Iterator[Path]:
    """A scratch folder on the disk of ``goal``, removed afterwards."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{goal.name}.new-", dir=goal.parent) as scratch:
        yield Path(scratch)
