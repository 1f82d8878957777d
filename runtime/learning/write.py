"""Writes a bundle with further classes into a new folder: models, labels, golden vectors, manifest.

Files that do not change are linked where the file system can, so a bundle on a small disk is not
there twice. No file is written in place: its other name keeps the old bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle import GOLDEN, LABELS, PREPROCESS, Bundle, open_bundle, sha256_of
from runtime.classifier import META_LABELS
from runtime.errors import BundleError
from runtime.files import confidence, golden_npz
from runtime.files.added import ADDED, ARRAYS, ROWS, scale_and_offset
from runtime.files.atomic import atomic, is_temporary
from runtime.files.manifest import companion, write_manifest
from runtime.files.onnx import check
from runtime.files.strict_json import canonical, parse_json, read_json
from runtime.golden import CONFIG, TARGETS_GOLDEN
from runtime.learning.widened import can_widen, widen

LABELS_TEXT = "labels.txt"  # a name a line, as export/bundle/files.py calls it
CARD = "README.md"
OPERATORS = ".operators.txt"  # beside a file in ORT format, as export/targets/ort_format.py has it
HEADING = "\n## Classes added after the build\n"
TEXT = """
The last {added} of the {labels} classes in `labels.json` were added from {photos} photos, without
training: a logit of theirs is the cosine with the mean features of these photos, put on the scale
of the others.
"""


@dataclass(frozen=True, eq=False)
class NewClass:
    """A class to be added: its logit in a model is ``scale * features·row + offset``."""

    name: str
    row: np.ndarray  # (D,) float32: the class's prototype less the mean of the others'
    prototype: np.ndarray  # (D,) of length 1, values that float16 holds
    photos: int
    models: Mapping[str, Mapping[str, float]]  # "fp32", "int8" -> "scale", "offset"

    def to_json(self) -> dict[str, Any]:
        """The manifest's row of it."""
        models = {name: dict(row) for name, row in self.models.items()}
        return {"name": self.name, "photos": self.photos, "models": models}


def added_classes(folder: Path, manifest: Mapping[str, Any]) -> list[NewClass]:
    """The classes that were added to the bundle in ``folder`` after its build, in their order.

    Raises: BundleError: rows that do not fit them.
    """
    part = manifest.get(ADDED)
    if part is None:
        return []
    entries = part["classes"]
    arrays = golden_npz.read(folder / part["rows"])
    shapes = {name: arrays[name].shape if name in arrays else None for name in ARRAYS}
    width = (shapes[ARRAYS[0]] or (0, 0))[-1]
    is_whole = all(shape == (len(entries), width) for shape in shapes.values())
    if not is_whole or not all(np.isfinite(arrays[name]).all() for name in ARRAYS):
        what = f"{folder / part['rows']} does not hold the rows of the added classes"
        raise BundleError(what, got=shapes, expected=f"finite ({len(entries)}, D) each")
    rows, prototypes = (arrays[name].astype(np.float32) for name in ARRAYS)
    return [
        NewClass(entry["name"], row, prototype, int(entry["photos"]), entry["models"])
        for entry, row, prototype in zip(entries, rows, prototypes, strict=True)
    ]


def told_of_added(card: str, manifest: Mapping[str, Any], labels: int) -> str:
    """A bundle's card with what its manifest says of added classes, ``labels`` in all."""
    classes = manifest.get(ADDED, {}).get("classes", ())
    if not classes:
        return card
    photos = sum(one["photos"] for one in classes)
    about = TEXT.format(added=len(classes), labels=labels, photos=photos)
    return card.partition(HEADING)[0] + HEADING + about


def write_added(
    bundle: Bundle, folder: Path, classes: Sequence[NewClass], listed_only: bool = False
) -> tuple[str, ...]:
    """Writes ``bundle`` with ``classes`` behind its own into the new ``folder``.

    Args:
        listed_only: without files of the user's that lie in the bundle's folder.

    Returns: export targets that were left out, since they cannot take a class: those with logits
    alone, and those in another format than ONNX.

    Raises: BundleError: a model without features.
    """
    _copy(bundle, folder, listed_only)
    files = dict(bundle.manifest["files"])
    targets = dict(bundle.targets)
    every = [*added_classes(bundle.path, bundle.manifest), *classes]
    dropped = []
    stacked = (np.stack(rows) for rows in ([c.row for c in every], [c.prototype for c in every]))
    written = {ROWS: _arrays(dict(zip(ARRAYS, stacked, strict=True)))}
    for key, name in _model_files(bundle):
        if key in bundle.models or (name.endswith(".onnx") and can_widen(folder / name)):
            written[name] = _model(folder / name, key, classes)
            continue
        dropped.append(key)
        del targets[key]
        for gone in (name, companion(name), str(Path(name).with_suffix(OPERATORS))):
            if gone and files.pop(gone, None):
                (folder / gone).unlink()
    written |= _texts(folder, files, classes, every)
    for name in (GOLDEN, TARGETS_GOLDEN):
        if name in files:
            written[name] = _arrays(_golden(golden_npz.read(folder / name), classes, dropped))
    rejection = bundle.manifest.get(confidence.CONFIDENCE, {}).get("rejection") or {}
    if place := rejection.get("prototypes"):
        arrays = golden_npz.read(folder / place)
        rows = [arrays[confidence.ARRAY], *(one.prototype[None] for one in classes)]
        stored = np.concatenate(rows).astype(np.float16)
        written[place] = _arrays({**arrays, confidence.ARRAY: stored})
    for name, write in written.items():
        with atomic(folder / name) as temporary:
            write(temporary)
        size = (folder / name).stat().st_size
        files[name] = {"bytes": size, "sha256": sha256_of(folder / name)}
    manifest = {**bundle.manifest, "files": files, ADDED: _part(bundle, every, len(classes))}
    if "targets" in manifest:
        manifest["targets"] = targets
    write_manifest(folder, manifest)
    open_bundle(folder)
    return tuple(dropped)


def _part(bundle: Bundle, every: Sequence[NewClass], count: int) -> dict[str, Any]:
    """The manifest's part "added" after a step of ``count`` classes."""
    files = bundle.manifest["files"]
    names = (*bundle.manifest["models"].values(), LABELS, PREPROCESS)
    before = bundle.manifest.get(ADDED, {})
    return {
        "rows": ROWS,
        "classes": [one.to_json() for one in every],
        "steps": [*before.get("steps", ()), count],
        "trained": before.get("trained") or {name: files[name] for name in names},
    }


def _copy(bundle: Bundle, folder: Path, listed_only: bool) -> None:
    if not listed_only:
        shutil.copytree(bundle.path, folder, True, _leftovers, _link)  # links stay links
        return
    for name in bundle.manifest["files"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, folder / name)


def _link(source: str, target: str) -> None:
    with suppress(OSError):  # FAT, another disk
        os.link(source, target, follow_symlinks=False)
        return
    shutil.copy2(source, target, follow_symlinks=False)


def _leftovers(folder: str, names: Collection[str]) -> set[str]:
    return {name for name in names if is_temporary(name)}


def _model_files(bundle: Bundle) -> list[tuple[str, str]]:
    """Key and name of each model's file, copies for other loaders and export targets too."""
    every = [*bundle.models.items(), *bundle.twins.items(), *bundle.target_files.items()]
    named = {file.relative_to(bundle.path).as_posix(): key for key, file in reversed(every)}
    return [(key, name) for name, key in sorted(named.items())]


Write = Callable[[Path], None]


def _model(file: Path, key: str, classes: Sequence[NewClass]) -> Write:
    rows, offsets = _rows(key, classes)
    metadata = check(file).metadata
    changed = {}
    if META_LABELS in metadata:
        labels = parse_json(metadata[META_LABELS], f"{META_LABELS} of {file}")
        labels += [one.name for one in classes]
        changed[META_LABELS] = json.dumps(labels, sort_keys=True)
    return lambda target: widen(file, target, rows, offsets, changed)


def _rows(key: str, classes: Sequence[NewClass]) -> tuple[np.ndarray, np.ndarray]:
    """What the features are multiplied with (N, D), and what is added (N,)."""
    pairs = [scale_and_offset(one.models, key) for one in classes]
    rows = [np.float32(scale) * one.row for (scale, _), one in zip(pairs, classes, strict=True)]
    return np.stack(rows).astype(np.float32), np.array([pair[1] for pair in pairs], np.float32)


def _golden(
    arrays: dict[str, np.ndarray], classes: Sequence[NewClass], dropped: Collection[str]
) -> dict[str, np.ndarray]:
    """Golden vectors whose logits have the new classes: computed from their features."""
    out = {}
    for name, values in arrays.items():
        kind, _, key = name.partition(".")
        if key in dropped:
            continue
        if kind == "logits":
            features = arrays.get(f"features.{key}")
            if features is None:
                continue  # then it is unverified, and said to be
            rows, offsets = _rows(key, classes)
            values = np.concatenate([values, features @ rows.T + offsets], axis=1)
        out[name] = values
    return out


def _texts(
    folder: Path, files: Collection[str], classes: Sequence[NewClass], every: Sequence[NewClass]
) -> dict[str, Write]:
    """Labels in every form that the bundle has, and its card."""
    rows = read_json(folder / LABELS)
    count = len(rows)
    rows += [{"index": count + at, "name": one.name} for at, one in enumerate(classes)]
    names = [one if isinstance(one, str) else one["name"] for one in rows]
    out = {LABELS: _bytes(canonical(rows))}
    if LABELS_TEXT in files:
        out[LABELS_TEXT] = _bytes("".join(f"{name}\n" for name in names).encode())
    if CONFIG in files and isinstance(config := read_json(folder / CONFIG), dict):
        config["num_labels"] = len(names)
        config["id2label"] = {str(index): name for index, name in enumerate(names)}
        config["label2id"] = {name: index for index, name in enumerate(names)}
        out[CONFIG] = _bytes(canonical(config))
    if CARD in files:
        card = (folder / CARD).read_bytes().decode("utf-8", "replace")
        told = {ADDED: {"classes": [one.to_json() for one in every]}}
        out[CARD] = _bytes(told_of_added(card, told, len(names)).encode())
    return out


def _bytes(data: bytes) -> Write:
    def write(file: Path) -> None:
        file.write_bytes(data)

    return write


def _arrays(arrays: Mapping[str, np.ndarray]) -> Write:
    return lambda file: golden_npz.write(file, arrays)
