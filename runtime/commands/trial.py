"""The first run of a stranger's model, in a process with limits, before a command loads it.

What kept within memory and time is remembered by the hash of its manifest, which names the hash of
every file; so later calls start at once. Other engines than onnxruntime are not tried: they start
GPUs. The Python API is not either: see ``Classifier.load``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtime.backends.limited import ENGINE, can_limit, overrun
from runtime.bundle import MANIFEST, open_bundle, sha256_of
from runtime.classifier import from_file
from runtime.errors import BackendError, EdgeError
from runtime.files.home import cache_folder
from runtime.files.zipped import unpacked

SEEN = "tried"  # in the cache folder: an empty file for each


@dataclass(frozen=True)
class Stranger:
    """What a command is about to load."""

    path: Path  # a bundle's folder, a zipped one, or a model file that describes itself
    models: tuple[str, ...] = ("auto",)  # of the bundle; none: every plain precision

    @property
    def mark(self) -> Path | None:
        """The file that says that it was tried; None for what is no bundle."""
        try:
            digest = sha256_of(self.path if self.path.is_file() else self.path / MANIFEST)
        except EdgeError:
            return None
        name = hashlib.sha256("\n".join([digest, *self.models]).encode("utf-8", "replace"))
        return cache_folder(SEEN) / name.hexdigest()


def require_bounded(
    strangers: Iterable[Stranger], threads: int | None = None, engine: str = ENGINE
) -> None:
    """Loads and runs what was never tried here, within limits.

    Raises:
        BackendError: a model takes more memory or time than one of its size may.
        BundleError: damaged, or without such a model.
    """
    if engine != ENGINE or not can_limit():
        return
    marks = {one: one.mark for one in strangers}
    new = {one: mark for one, mark in marks.items() if mark is not None and not mark.exists()}
    if not new:
        return
    with contextlib.ExitStack() as opened:
        models: dict[Path, int] = {}
        for one in new:
            models |= _models(one, opened)
        reason, answered = overrun(models, threads)
    if reason:
        remedy = "do not use it, unless you trust where it comes from"
        raise BackendError("a model takes too much", got=reason, remedy=remedy)
    if answered:
        for mark in new.values():
            with contextlib.suppress(OSError):  # then it is tried again
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()


def _models(one: Stranger, opened: contextlib.ExitStack) -> dict[Path, int]:
    """Its files, with the edge of their images."""
    if one.path.suffix == ".onnx" and one.path.is_file():
        return {one.path: from_file(one.path, "auto")[2].size}
    bundle = open_bundle(opened.enter_context(unpacked(one.path)), whole=False)
    names = one.models or [name for name in bundle.models if "." not in name]
    return {bundle.model(name): bundle.preprocess.size for name in names}
