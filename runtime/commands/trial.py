"""The first run of a stranger's model, in a process with limits, before a command loads it.

What kept within memory and time is remembered by the hash of its manifest, which names the hash of
every file, and by the engine; so later calls start at once. Engines that start GPUs are not tried.
The Python API is not either: see ``Classifier.load``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from runtime.backends import BACKENDS
from runtime.backends.limited import ENGINE, can_limit, overrun
from runtime.bench.entries import precisions
from runtime.bench.run import ALL
from runtime.bundle import MANIFEST, open_bundle, sha256_of
from runtime.classifier import from_file
from runtime.errors import BackendError, EdgeError
from runtime.files.home import cache_folder
from runtime.files.paths import bundle_path
from runtime.files.zipped import unpacked

SEEN = "tried"  # in the cache folder: an empty file for each


@dataclass(frozen=True)
class Stranger:
    """What a command is about to load."""

    path: Path  # a bundle's folder, a zipped one, or a model file that describes itself
    models: tuple[str, ...] = ("auto",)  # of the bundle; none: every plain precision

    def mark(self, engine: str = ENGINE) -> Path | None:
        """The file that says that it was tried; None for what is no bundle."""
        try:
            home = bundle_path(self.path)
            digest = sha256_of(home if home.is_file() else home / MANIFEST)
        except EdgeError:
            return None
        words = [digest, *self.models, *([] if engine == ENGINE else [engine])]
        name = hashlib.sha256("\n".join(words).encode("utf-8", "replace"))
        return cache_folder(SEEN) / name.hexdigest()


def require_bounded(
    strangers: Iterable[Stranger], threads: int | None = None, engine: str = ENGINE
) -> None:
    """Loads and runs what was never tried here with an engine ("all": with each), within limits.

    Raises:
        BackendError: a model takes more memory or time than one of its size may.
        BundleError: damaged, or without such a model.
    """
    if engine == ALL:
        strangers = list(strangers)
        for name, row in BACKENDS.items():
            if find_spec(row.library) is not None:
                require_bounded(strangers, threads, name)
        return
    if not can_limit(engine):
        return
    marks = {one: one.mark(engine) for one in strangers}
    new = {one: mark for one, mark in marks.items() if mark is not None and not mark.exists()}
    if not new:
        return
    with contextlib.ExitStack() as opened:
        models: dict[Path, int] = {}
        for one in new:
            models |= _models(one, engine, opened)
        reason, answered = overrun(models, threads, engine)
    if reason:
        remedy = "do not use it, unless you trust where it comes from"
        raise BackendError("a model takes too much", got=reason, remedy=remedy)
    if answered:
        for mark in new.values():
            with contextlib.suppress(OSError):  # then it is tried again
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()


def _models(one: Stranger, engine: str, opened: contextlib.ExitStack) -> dict[Path, int]:
    """Its files, with the edge of their images."""
    if one.path.suffix == ".onnx" and one.path.is_file():
        return {one.path: from_file(one.path, "auto")[2].size}
    bundle = open_bundle(opened.enter_context(unpacked(one.path)), whole=False)
    keys = precisions(bundle, one.models or None, engine, only_readable=engine != ENGINE)
    return {bundle.model(key): bundle.preprocess.size for key in keys}
