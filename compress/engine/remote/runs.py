"""A run whose work folder mirrors object storage: fetched before it is used, and sent after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.engine.remote.mirror import fetch_runs, send_run
from compress.engine.remote.storage import Remote
from compress.engine.runs import RunFolder


@contextmanager
def mirrored(work: Path, run: str | Path) -> Iterator[None]:
    """Fetches a run from the object storage of a work folder, and uploads it at the end."""
    remote = Remote.of(work)
    folder = RunFolder.of(work, run)
    if remote:
        fetch_runs(remote, folder.path.parent, folder.path.name)
        for stage, key in folder.recorded.items():
            folder.store.get(stage, key)
    yield
    if remote and folder.exists:
        send_run(remote, folder.path)
