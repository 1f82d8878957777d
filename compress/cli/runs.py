"""Commands about runs: ``show``, ``list``, ``report``, ``sensitivity``, ``clean``."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer, echo

from compress.cli.options import Quiet, WorkDir, known_work
from compress.engine.errors import Clip2EdgeError, ConfigError

if TYPE_CHECKING:
    from compress.engine.runs import RunFolder

commands = Typer()


@commands.command(epilog="Example: compress show petals-4shot-s0")
def show(
    name: Annotated[str | None, Argument(help="A run; without it, all runs")] = None,
    work_dir: WorkDir = None,
) -> None:
    """Show the runs of a work folder, or one run's results."""
    from compress.engine.runs import RunFolder, find_run, run_folders
    from compress.report.artifact import ReportArtifact

    work = known_work(work_dir)
    if name is None:
        found = [row for row in map(_overview, run_folders(work)) if row]
        widths = [max(map(len, column)) for column in zip(*found, strict=True)]
        for row in found:
            cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
            echo("  ".join(cells).rstrip())
        return
    folder = find_run(name, work)
    report = ReportArtifact(folder)
    if not report.exists:
        remedy = RunFolder(folder).repeat
        raise ConfigError("this run has no report yet", got=name, remedy=remedy)
    print_summary(report.read())
    echo(f"report  {report.html}")


def _overview(run: RunFolder) -> tuple[str, ...]:
    """A run in a line: name, end, top-1, size and p50 of what ships, command; () if none began."""
    from compress.report.artifact import ReportArtifact
    from compress.report.model.report import parse
    from compress.report.wording import milliseconds, percent, size

    try:
        record = run.record()
    except ConfigError as error:
        return run.name, "run.json is damaged", "", "", "", str(error.remedy)
    if "end" not in record and not record.get("stages"):
        return ()
    figures = ("", "", "")
    report = ReportArtifact(run.path)
    if report.exists:
        with contextlib.suppress(Clip2EdgeError):
            known = parse(report.read())
            own = known.accuracy.get(known.shipped)
            figures = (
                percent(own.top1 if own else None),
                size(known.size_bytes.get(known.shipped)),
                milliseconds(known.p50_ms(known.shipped)),
            )
    ended, stages = record.get("end"), record.get("stages") or {}
    how = "finished" if report.exists or not stages else f"stopped after {list(stages)[-1]}"
    state = f"{how} {ended[:16].replace('T', ' ')}" if ended else "unfinished"
    return run.name, state, *figures, record["command"]


@commands.command("list", epilog="Example: compress list students mobilenet")
def list_(
    what: Annotated[
        str,
        Argument(
            help="datasets, teachers, students, generators, decoders, strategies, prompts, "
            "objectives, presets, methods, devices"
        ),
    ],
    match: Annotated[str, Argument(help="Only names that contain this")] = "",
    everything: Annotated[
        bool, Option("--all", help="Of students all that timm has, not the measured ones alone")
    ] = False,
) -> None:
    """List the names that options accept, and what is known of them."""
    from compress.cli.listing import lines

    for line in lines(what, match, everything):
        echo(line)


@commands.command(epilog="Example: compress report petals-4shot-s0 --bench orin.json")
def report(
    run: Annotated[Path, Argument(help="A finished run: its folder, or its name")],
    bench: Annotated[
        list[Path] | None, Option(help="bench.json of another device; may be repeated")
    ] = None,
    out: Annotated[Path | None, Option(help="A folder. Default: the run's own")] = None,
    work_dir: WorkDir = None,
) -> None:
    """Render a run's report again, with other devices' compress bench BUNDLE --out bench.json."""
    from compress import api
    from compress.engine.remote.runs import mirrored
    from compress.engine.runs import RunFolder
    from compress.report.artifact import ReportArtifact
    from compress.report.rerender import rerender
    from compress.report.sections.devices import device_sentence

    work = api.work_folder(work_dir)
    with mirrored(work, run):
        named = RunFolder.of(work, run).path
        folder = run if run.is_dir() or not named.is_dir() else named
        rendered = rerender(folder, bench or (), out)
    echo(rendered.headline)
    if rendered.devices:
        echo(device_sentence(rendered))
    echo(f"report  {ReportArtifact(out or folder).html}")


@commands.command(epilog="Example: compress compare flowers-4shot-s0 flowers-8shot-s0")
def compare(
    runs: Annotated[list[str], Argument(help="Finished runs: their folders or names")],
    out: Annotated[
        Path | None, Option(help="Write comparison.json and comparison.html into this folder")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON")] = False,
    work_dir: WorkDir = None,
) -> None:
    """Compare runs with the first one: accuracy on the same test images, size, latency."""
    from rich.console import Console

    from compress.compare.artifact import ComparisonArtifact
    from compress.compare.runs import compare_runs
    from compress.compare.terminal import table
    from compress.engine.runs import find_run

    work = known_work(work_dir)
    if out is not None:
        ComparisonArtifact(out).require_writable()
    found = compare_runs([find_run(run, work) for run in runs])
    if as_json:
        echo(found.to_text())
    else:
        Console().print(*table(found), sep="\n", highlight=False)
    if out is not None:
        ComparisonArtifact(out).write(found)
        echo(f"page  {ComparisonArtifact(out).html}", err=as_json)


@commands.command(epilog="Example: compress sensitivity petals-4shot-s0")
def sensitivity(
    run: Annotated[str, Argument(help="A finished run: its folder, or its name")],
    blocks: Annotated[int, Option(min=2, help="Most blocks that the network is cut into")] = 10,
    images: Annotated[int, Option(min=1, help="Held-out views that accuracy is counted on")] = 512,
    seconds: Annotated[
        float, Option(min=0.01, max=86400, help="Of each of the three timings")
    ] = 20.0,
    threads: Annotated[int, Option(min=1, max=1024, help="Threads of the engine while timing")] = 1,
    write: Annotated[
        bool, Option("--write", help="Add model.mixed.onnx to the bundle if it beats int8 and fp32")
    ] = False,
    quiet: Quiet = False,
    work_dir: WorkDir = None,
) -> None:
    """Should I quantize? What int8 costs and saves per block, and what to ship here."""
    from compress import api
    from compress.engine.progress import QuietProgress, RichProgress
    from compress.engine.remote.runs import mirrored
    from compress.engine.runs import RunFolder, find_run, open_run
    from compress.report.artifact import ReportArtifact
    from compress.report.rerender import add_sensitivity
    from export.sensitivity import measure

    work = api.work_folder(work_dir)
    with mirrored(work, run):
        folder = find_run(run, work)
        if ReportArtifact(folder).exists:
            ReportArtifact(folder).require_writable()
        opened = open_run(folder, QuietProgress() if quiet else RichProgress())
        options = measure.SensitivityOptions(blocks, images, seconds, threads)
        result = measure.run(opened, options, write=write)
        for line in result.lines():
            echo(line)
        if add_sensitivity(folder, result.to_json()):
            echo(f"report  {ReportArtifact(folder).html}")
        else:
            echo(f"written to {RunFolder(folder).sensitivity}")


@commands.command(epilog="Example: compress clean --dry-run")
def clean(
    work_dir: WorkDir = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Count, remove nothing")] = False,
) -> None:
    """Remove stages that no run uses, remains of unfinished ones, and the cache of views."""
    from compress.engine import runs
    from compress.engine.remote.storage import Remote

    work = known_work(work_dir)
    if remote := Remote.of(work):
        echo(f"this cleans the mirror {work}; {remote.url} stays as it is", err=True)
    for damage in filter(None, (run.damage for run in runs.run_folders(work))):
        echo(f"{damage}; what it ever made is kept", err=True)
    removed, freed = runs.clean(work, dry_run=dry_run)
    done = "would remove" if dry_run else "removed"
    echo(f"{done} {removed} stage folders and the cache of views, {freed / 1e6:.1f} MB")


def print_summary(report: Mapping[str, object]) -> None:
    """Prints the table of a report's main results."""
    from rich.console import Console

    from compress.report.model.report import parse
    from compress.report.sections.summary import summary_table

    # rich takes COLUMNS=0, which says that the width is unknown, for a terminal without room
    width = None if Console().width else shutil.get_terminal_size().columns
    Console(width=width).print(summary_table(parse(report)))
