"""Puts a build's bundle into its run folder without losing what later commands added there.

Additions are the files that the published manifest lists and the build's does not: export targets,
the mixed model, their golden logits, and classes (``export/bundle/added.py``). They belong to a
model: they stay while models, labels and preprocessing are the same, and are dropped, with a note,
when those change. What no manifest lists is the
user's and stays, of any kind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.engine.disk import require_no_file
from export.bundle.added import with_added
from export.bundle.files import CARD
from export.bundle.folder import held
from runtime import golden
from runtime.bundle import GOLDEN, LABELS, MANIFEST, PREPROCESS, check_file, open_bundle
from runtime.errors import EdgeError
from runtime.files.atomic import flush, flush_folder, is_temporary
from runtime.files.manifest import read_manifest, write_manifest
from runtime.learning.write import told_of_added

Manifest = Mapping[str, Any]
WAIT_S = 600.0  # for an export that is adding a file: a build does not fail at its end


@dataclass(frozen=True)
class Published:
    """Whether the model is the one that was there before, and what the user should know."""

    same_model: bool
    notes: tuple[str, ...] = ()


def publish_bundle(
    fresh: Path, bundle: Path, default: str | None = None, card: str | None = None
) -> Published:
    """Makes ``bundle`` hold the build's bundle ``fresh`` and the additions that still fit.

    A kill leaves the old bundle or the new one, if need be under a hidden name that the next call
    takes up. Nothing is written if nothing changes. A link stays: the folder it leads to is made.

    Args:
        default: the model of ``precision="auto"``, if not the one in ``fresh``.
        card: the text of its README.md, if not the one in ``fresh``.

    Raises:
        BundleError: ``fresh`` is damaged.
        StoreError: what is in the bundle's place is no folder, or an export holds it for long.
    """
    require_no_file(bundle)
    bundle = Path(os.path.realpath(bundle))
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with held(bundle, WAIT_S):
        _take_up(bundle)
        with with_added(fresh, bundle) as (whole, notes):
            done = _published(whole, bundle, default, card)
        return Published(done.same_model, (*notes, *done.notes))


def _hidden(bundle: Path) -> tuple[Path, Path]:
    """Where the new one is made, and where the old one waits."""
    return bundle.with_name(f".{bundle.name}.tmp"), bundle.with_name(f".{bundle.name}.old")


def _take_up(bundle: Path) -> None:
    """Takes up what a kill left under a hidden name."""
    scratch, old = _hidden(bundle)
    if old.is_dir() and not old.is_symlink():
        if not bundle.exists():
            os.replace(old, bundle)
        else:
            _move_own(old, bundle, {*_listed(old), *_listed(bundle)})
    for leftover in (scratch, old):
        _remove(leftover)


def _published(fresh: Path, bundle: Path, default: str | None, card: str | None) -> Published:
    scratch, old = _hidden(bundle)
    opened = open_bundle(fresh)
    base = dict(opened.manifest)
    if default is not None:
        base["default"] = default
        base.pop("default_reason", None)
    text = None if card is None else told_of_added(card, base, len(opened.labels)).encode()
    if text is not None:
        row = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        base["files"] = {**base["files"], CARD: row}
    present, notes = _present(bundle)
    same = present is not None and _is_same_model(base, present, bundle)
    kept: dict[str, Any] = {}
    if present is not None:
        added = {n: row for n, row in present["files"].items() if n not in base["files"]}
        kept = {n: row for n, row in added.items() if same and _is_sound(bundle, n, row)}
        if same and _extends_golden(fresh, bundle, present):
            kept[GOLDEN] = present["files"][GOLDEN]
        if dropped := sorted(added.keys() - kept.keys()):
            why = "damaged" if same else "of another model"
            again = "compress export and compress sensitivity --write add them again"
            notes.append(f"{bundle.name}: dropped, because {why}: {', '.join(dropped)}; {again}")
    merged = _merged(base, present or {}, kept)
    if same and present is not None and (damaged := _damaged(merged, present, bundle)):
        notes.append(f"{bundle.name}: mended, because damaged or old: {', '.join(damaged)}")
    if present != merged or not all(_is_sound(bundle, n, r) for n, r in merged["files"].items()):
        listed = {*(present or {"files": {}})["files"], *merged["files"], MANIFEST}
        _copy(fresh, scratch, (name for name in base["files"] if name not in kept))
        _copy(bundle, scratch, kept)
        if text is not None:
            (scratch / CARD).write_bytes(text)
            flush(scratch / CARD)
        write_manifest(scratch, merged)
        open_bundle(scratch)
        if bundle.exists():
            os.replace(bundle, old)
        os.replace(scratch, bundle)
        if old.exists():
            _move_own(old, bundle, listed)
        flush_folder(bundle.parent)
        _remove(old)
    return Published(same, tuple(notes))


def _present(bundle: Path) -> tuple[Manifest | None, list[str]]:
    """The published manifest, None without one; and a note if it cannot be read."""
    if not bundle.is_dir():
        return None, []
    try:
        return read_manifest(bundle), []
    except EdgeError as error:
        return None, [f"{bundle.name} is made again: {error}"]


def _is_same_model(base: Manifest, present: Manifest, bundle: Path) -> bool:
    """Whether models, labels and preprocessing are the build's, be a file or a row damaged."""
    rows = {name: base["files"][name] for name in (*base["models"].values(), LABELS, PREPROCESS)}
    return all(
        present["files"].get(name, {}).get("sha256") == row["sha256"]
        or _is_sound(bundle, name, row)
        for name, row in rows.items()
    )


def _damaged(merged: Manifest, present: Manifest, bundle: Path) -> list[str]:
    """Files that are neither what the build made nor what the published manifest says."""
    damaged = []
    for name, row in merged["files"].items():
        own = present["files"].get(name)
        if own != row and own is not None and _is_sound(bundle, name, row):
            damaged.append(MANIFEST)
        elif not _is_sound(bundle, name, row) and not (own and _is_sound(bundle, name, own)):
            damaged.append(name)
    if any(merged[key] != present.get(key) for key in ("schema", "models")):
        damaged.append(MANIFEST)
    return list(dict.fromkeys(damaged))


def _is_sound(folder: Path, name: str, row: Mapping[str, Any]) -> bool:
    try:
        check_file(folder, name, row)
    except EdgeError:
        return False
    return True


def _extends_golden(fresh: Path, bundle: Path, present: Manifest) -> bool:
    """Whether the published golden vectors are the build's and more."""
    row = present["files"].get(GOLDEN)
    if row is None or not (fresh / GOLDEN).exists() or not _is_sound(bundle, GOLDEN, row):
        return False
    try:
        own, published = (golden.read(folder / GOLDEN) for folder in (fresh, bundle))
    except EdgeError:
        return False
    more = published.keys() > own.keys()
    return more and all(np.array_equal(own[name], published[name]) for name in own)


def _merged(base: Manifest, present: Manifest, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The build's manifest with the rows of the files that are kept."""
    files = {**base["files"], **kept}
    targets = {k: row for k, row in present.get("targets", {}).items() if row["file"] in kept}
    models = {key: name for key, name in present.get("models", {}).items() if name in kept}
    merged = {**base, "files": files, "models": {**base["models"], **models}}
    if targets:
        merged["targets"] = targets
        merged["schema"] = max(base["schema"], present["schema"])
    if present.get("default") in models:
        merged |= {k: present[k] for k in ("default", "default_reason") if k in present}
    return merged


def _listed(bundle: Path) -> set[str]:
    """The files of a bundle by its manifest, none of a damaged one's."""
    try:
        return {*read_manifest(bundle)["files"], MANIFEST}
    except EdgeError:
        return {MANIFEST}


def _move_own(old: Path, new: Path, listed: Collection[str], below: str = "") -> None:
    """Moves the user's own files, links and folders, whatever no manifest lists, to ``new``."""
    for entry in sorted(old.iterdir()):
        name, goal = f"{below}{entry.name}", new / entry.name
        is_folder = entry.is_dir() and not entry.is_symlink()
        if is_folder and any(other.startswith(f"{name}/") for other in listed):
            is_new = not goal.exists()
            goal.mkdir(exist_ok=True)
            _move_own(entry, goal, listed, f"{name}/")
            if is_new and not any(goal.iterdir()):
                goal.rmdir()
        elif is_folder and goal.is_dir():
            _move_own(entry, goal, listed, f"{name}/")
        elif name not in listed and not is_temporary(entry.name) and not os.path.lexists(goal):
            os.replace(entry, goal)


def _remove(path: Path) -> None:
    """Removes what a kill, or anybody, left under a hidden name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
        flush(target / name)
