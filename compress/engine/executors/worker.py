"""What a worker process does: one span after the other, with the models of the first."""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import dataclass, replace

from compress.engine.errors import ExplainedError, StoreError
from compress.engine.executors.work import Made, SpanWork, make_here
from compress.engine.hush import hush_libraries
from compress.engine.memory import keep_memory
from compress.engine.remote.mirror import StageMirror
from compress.engine.remote.storage import mirror_of
from compress.engine.store import Store
from compress.engine.threads import hold_threads

_resident: dict[str, SpanWork] = {}  # the work whose models are loaded, by its ticket
PARENT_S = 1.0  # between two looks at whether the parent still lives


@dataclass(frozen=True)
class Refused:
    """What the work refuses: another attempt would end the same way."""

    error: ExplainedError


def serve(work: SpanWork, ticket: str, start: int, stop: int, threads: int) -> Made | Refused:
    """Makes a span.

    Args:
        ticket: the same for all spans of a stage: their models are loaded once.
        threads: torch's.
    """
    if ticket not in _resident:
        hush_libraries()
        hold_threads(threads)
        keep_memory()
        _resident.clear()  # frees the models of the stage before
    span = range(start, stop)
    try:
        mine = _resident.get(ticket) or _resident.setdefault(ticket, _at_home(work))
        made = make_here(mine, span, mine.load(span), lambda units, wait_s: None)
        if mine.ctx.url:
            mirror = StageMirror.of(mine.ctx.url, mine.ctx.folder)
            mirror.send_partial(mine.path(span), made.sha256)
        return made
    except ExplainedError as error:
        return Refused(error)


def _at_home(work: SpanWork) -> SpanWork:
    """The work with the paths of this machine; StoreError if it does not share the work folder."""
    ctx = work.ctx
    if ctx.url is None:
        if not ctx.folder.is_dir():
            raise StoreError(
                "a worker does not see the work folder",
                got=f"{ctx.folder} on {socket.gethostname()}",
                remedy="give all machines the same folder, or object storage: --work-dir s3://...",
            )
        return work
    store = Store.of(mirror_of(ctx.url))
    inputs = {}
    for name, artifact in ctx.inputs.items():
        found = store.get(name, artifact.path.name)
        if found is None:
            what = f"stage {name} is not in the work folder in object storage"
            raise StoreError(what, got=f"{ctx.url}: {artifact.path.name}")
        inputs[name] = found
    folder = store.root / ctx.folder.parent.name / ctx.folder.name
    folder.mkdir(parents=True, exist_ok=True)
    here = replace(ctx, inputs=inputs, folder=folder, weights=store.weights, views=store.views)
    return replace(work, ctx=here)  # type: ignore[type-var]  # each is a dataclass


def end_with(parent: int) -> None:
    """Ends this process when its parent has ended, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
