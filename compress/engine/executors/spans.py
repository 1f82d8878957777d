"""Makes the files of a stage's spans with the executor that was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.engine.errors import StoreError
from compress.engine.executors.fleet import Fleet, differences
from compress.engine.executors.table import executor_for
from compress.engine.executors.work import SpanWork, environment_of
from compress.engine.partial import SUMS, trust
from compress.engine.remote.mirror import StageMirror


def make_spans(
    work: SpanWork, spans: Sequence[range] | None = None, sums: str = SUMS
) -> list[Path]:
    """The files of spans, in order; those that are not there yet are made.

    Args:
        spans: by default all of the stage.
        sums: the file that their checksums are written to; only one process may write to it.

    Raises: as ``Executor.map``, and FleetError for files of differing environments.
    """
    ctx = work.ctx
    paths = {span: work.path(span) for span in (work.spans() if spans is None else spans)}
    fleet = Fleet(work.name, ctx.host.mixed_fleet)
    todo = []
    for span, path in paths.items():
        if path.exists():
            fleet.admit(environment_of(path))
        else:
            todo.append(span)
    total, missing = (sum(map(work.units, some)) for some in (paths, todo))
    with ctx.progress.task(work.name, total=total, unit=work.unit, done=total - missing) as task:

        def advance(units: int, wait_s: float) -> None:
            task.advance(units, wait_s=wait_s)

        executor = executor_for(ctx.host)
        for made in executor.map(work, todo, advance, ctx.progress.note) if todo else ():
            _require_here(work, paths[made.span], made.sha256)
            fleet.admit(environment_of(paths[made.span]))
            trust(paths[made.span], made.sha256, sums)
    return list(paths.values())


def _require_here(work: SpanWork, path: Path, sha256: str) -> None:
    """Fetches what a worker elsewhere has made; StoreError if that is not to be had."""
    if work.ctx.url and not path.exists():
        StageMirror.of(work.ctx.url, work.ctx.folder).fetch_partial(path, sha256)
    if not path.exists():
        raise StoreError(
            "what a worker has made is not in the work folder",
            got=path,
            remedy="give all machines the same folder, or object storage: --work-dir s3://...",
        )


def environments(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The environments that the files of spans were made in, each once."""
    return [json.loads(text) for text in dict.fromkeys(map(environment_of, files))]


def notes(files: Sequence[Path]) -> list[str]:
    """What a report says about files of differing environments, which were accepted."""
    first, *others = environments(files) or [{}]
    told = "; ".join(differences(other, first) for other in others)
    return [f"made on machines that compute differently (--mixed-fleet): {told}"] if told else []
