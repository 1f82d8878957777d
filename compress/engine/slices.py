"""A slice of a stage's spans, made by itself: for array jobs, and to see one span alone.

Tasks 0 to N - 1 make every N-th span each, in any order, on machines that share the work folder.
The next build finds what they made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.engine.config import HostSettings, Settings
from compress.engine.errors import ConfigError, StoreError, require_known
from compress.engine.executors.spans import make_spans
from compress.engine.partial import SUMS
from compress.engine.progress import SILENT, Progress
from compress.engine.remote.mirror import StageMirror
from compress.engine.stage import Stage, context, identity, key_of, resolve
from compress.engine.store import Artifact, Store
from compress.engine.system_errors import system_errors


@dataclass(frozen=True)
class Slice:
    """Which spans: every ``of``-th from ``index`` on, or the one that starts at row ``only``.

    ``prepare``: none, only what all slices share, e.g. probing, which each would do for itself.
    """

    index: int = 0
    of: int = 1
    only: int | None = None
    prepare: bool = False

    def choose(self, spans: Sequence[range]) -> list[range]:
        """The spans of this slice; ConfigError if ``only`` starts none."""
        if self.prepare:
            return []
        if self.only is None:
            return list(spans[self.index :: self.of])
        starts = [span.start for span in spans]
        require_known(str(self.only), list(map(str, starts)), "no span starts at this row")
        return [spans[starts.index(self.only)]]

    @property
    def sums(self) -> str:
        """The file of its checksums: tasks that run at once never write to the same."""
        return f"{SUMS}.{self.index}-of-{self.of}" if self.only is None else f"{SUMS}.{self.only}"


def make_slice(
    stages: Sequence[Stage],
    name: str,
    part: Slice,
    settings: Settings,
    store: Store,
    host: HostSettings,
    progress: Progress = SILENT,
) -> list[Path]:
    """Makes a slice of the stage ``name`` in the store's unfinished folder of it.

    Returns: its files; none if the stage is finished.

    Raises:
        ConfigError: the stage has no spans, or an index outside of its slices.
        StoreError: a stage before it is not finished, or files of the slice were removed meanwhile.
    """
    able = [stage.name for stage in stages if stage.spans]
    require_known(name, able, "this stage cannot be made in slices")
    if not 0 <= part.index < part.of:
        got, expected = f"--index {part.index} --of {part.of}", "an index from 0 to N - 1"
        raise ConfigError("there is no such slice", got=got, expected=expected)
    with system_errors(store.root):
        finished: dict[str, Artifact] = {}
        for stage in stages:
            if any(need not in finished for need in stage.needs):
                continue  # of a stage that is not finished
            made_from = identity(stage, settings, finished)
            key = key_of(made_from)
            if stage.name == name:
                break
            if artifact := store.get(stage.name, key):
                finished[stage.name] = artifact
        else:
            last = next(stage for stage in stages if stage.name == name).needs[-1]
            remedy = f"the same command with `build --until {last}` in place of `shard` first"
            what = f"stage {name} needs stages that are not finished"
            raise StoreError(what, got=", ".join(finished) or "none of them", remedy=remedy)
        with store.slicing(name):
            if store.get(name, key):
                return []
            folder = store.part(name, key)
            ctx = context(store, settings, finished, folder, made_from, host, progress)
            work = resolve(str(stage.spans))(ctx)
            mirror = store.remote and StageMirror(store.remote, name, key)
            with mirror.partials_of(ctx.partial) if mirror else contextlib.nullcontext():
                files = make_spans(work, part.choose(work.spans()), part.sums)
            gone = [file for file in files if not file.is_file()]
            if gone and store.get(name, key):  # a build has finished the stage meanwhile
                return []
            if gone:
                raise StoreError(
                    "files of this slice were removed while it was made",
                    got=f"{len(gone)} of {len(files)} are gone, e.g. {gone[0]}",
                    remedy="repeat the command, and leave the work folder alone meanwhile",
                )
            return files
