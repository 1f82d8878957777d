"""The command about papers: ``reproduce``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer, echo

from compress.cli import options as shared
from compress.cli.options import Data, Generator, HostOptions, Offline, Set, Teacher, WorkDir
from compress.engine.disk import require_folder
from runtime.files.atomic import atomic, require_target

commands = Typer()


@commands.command(epilog="Example: compress reproduce sasaki")
@shared.with_options
def reproduce(
    paper: Annotated[str, Argument(help="A paper (compress list methods)")],
    host: HostOptions,
    table: Annotated[
        str, Option(help="Another of the paper's tables; --dry-run names them")
    ] = "main",
    scale: Annotated[
        str, Option(help="mini: the embedded world; full: the paper's data and models")
    ] = "mini",
    row: Annotated[list[str] | None, Option(help="Only this row; may be repeated")] = None,
    shots: Annotated[list[str] | None, Option(help="Only so many shots; may be repeated")] = None,
    seeds: Annotated[int | None, Option(help="Only so many seeds")] = None,
    data: Data = None,
    teacher: Teacher = None,
    generator: Generator = None,
    offline: Offline = False,
    set_: Set = None,
    out: Annotated[
        Path | None, Option(help="The page's file. Default: WORK/papers/PAPER-SCALE.md")
    ] = None,
    work_dir: WorkDir = None,
    dry_run: Annotated[bool, Option("--dry-run", help="List the builds and stop")] = False,
) -> None:
    """Reproduce a paper's tables with this project's methods, beside the paper's own numbers."""
    from compress import api
    from compress.papers import reproduce as tables
    from compress.papers.page import page

    plan = tables.plan_for(
        paper,
        scale,
        table=table,
        rows=row or (),
        shots=[shared.parse_shots(text) for text in shots or ()],
        seeds=seeds,
        data=data,
        teacher=teacher,
        generator=generator,
        offline=offline or None,
        sets=set_ or (),
    )
    if dry_run:
        for line in tables.listed(plan):
            echo(line)
        return
    work = api.work_folder(work_dir)
    file = out or work / "papers" / f"{plan.page_name}.md"
    require_folder(file.absolute().parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    require_target(file)
    start = time.perf_counter()
    results = tables.run(plan, work, host.settings(), say=echo)
    text = page(plan, results, work, (time.perf_counter() - start) / 60)
    with atomic(file) as whole:
        whole.write_text(text, encoding="utf-8")
    echo(f"{text}\nwritten to {file}")
