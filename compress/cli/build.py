"""Commands that build: ``build``, ``explain``, ``shard``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer, echo

from compress.cli import options as shared
from compress.cli.options import HostOptions, Quiet, SettingsOptions, WorkDir
from compress.cli.runs import print_summary

if TYPE_CHECKING:
    from compress.engine.plan import Step

commands = Typer()


@commands.command(epilog="Example: compress build --data photos/ --shots 8")
@shared.with_options
def build(
    options: SettingsOptions,
    host: HostOptions,
    work_dir: WorkDir = None,
    name: Annotated[str | None, Option(help="The run's name")] = None,
    until: Annotated[str | None, Option(help="Stop after this stage")] = None,
    budget: Annotated[
        list[str] | None,
        Option(help='"p50<=5ms@orin-nano, drop<=2pt", or YAML; exit code 1 if not kept'),
    ] = None,
    bench: Annotated[
        list[Path] | None, Option(help="bench.json of another device, to judge the budget by")
    ] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print the plan and what it would cost, and stop")
    ] = False,
    track: Annotated[
        list[str] | None, Option(help="Send curves and figures to tensorboard or mlflow")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Build a classifier.

    Stages: data, teacher, generate, label, distill, quantize, export, bench, report.
    """
    from compress import api
    from compress.engine import ranks
    from compress.engine.options import run_name
    from compress.engine.progress import QuietProgress, RichProgress
    from compress.engine.runs import RunFolder
    from compress.engine.trackers import figures, tracked
    from compress.report.artifact import ReportArtifact

    if ranks.follows():  # the first rank reads the settings, and says what is wrong with them
        if not dry_run:
            api.follow(work_dir=work_dir, host=host.settings())
        return
    settings = options.settings(budget or ())
    if dry_run:
        steps = api.plan(
            settings,
            work_dir=work_dir,
            until=until,
            name=name,
            benches=bench or (),
            engine=host.engine,
            progress=QuietProgress(),
        )
        if settings.budget.limits and settings.budget.search:
            from compress.search.zoo import students

            limits = ", ".join(settings.budget.limits)
            echo(f"{'search':10} {', '.join(students(settings))} for {limits}")
            echo(f"{'':10}   what it trains is in no estimate")
        from compress.cost.lines import headline
        from compress.cost.lines import lines as estimated

        rows = api.estimate(settings, work_dir=work_dir, steps=steps)
        head = headline(run_name(settings) if name is None else name, rows)
        for line in (*head, *_plan_lines(steps), *estimated(rows)):
            echo(line)
        return
    shown = QuietProgress() if quiet else RichProgress()
    work = api.work_folder(work_dir)
    folder = RunFolder.of(work, run_name(settings) if name is None else name).path
    with tracked(shown, track or (), folder, settings.plain()) as progress:
        run = api.build(
            settings=settings,
            work_dir=work_dir,
            name=name,
            until=until,
            command=shlex.join(["compress", *sys.argv[1:]]),
            host=host.settings(),
            progress=progress,
            benches=bench or (),
        )
        for tracker in progress.trackers if "report" in run.stages else ():
            tracker.points(0, figures(run.report))
    if not run.made:
        echo("nothing to do: every stage is finished with these settings and inputs")
    if "report" not in run.stages:
        echo(f"stopped after {until}: {run.folder}")
        return
    from compress.budgets.judge import kept, lines

    report = run.report
    print_summary(report)
    echo(f"bundle  {run.bundle}\nreport  {ReportArtifact(run.folder).html}")
    for line in lines(report["budgets"]):
        echo(line)
    if not kept(report["budgets"]):
        raise Exit(1)


@commands.command(
    epilog="Example: compress explain distill --dataset petals --set distill.steps=800"
)
@shared.with_options
def explain(
    stage: Annotated[str, Argument(help="A stage, e.g. distill")],
    options: SettingsOptions,
    work_dir: WorkDir = None,
) -> None:
    """Say why a stage would be kept or made again, field by field."""
    from compress import api

    step = api.explain(options.settings(), stage, work_dir=work_dir)
    echo(f"{step.stage:10} {step.action:16} {step.key or ''}")
    for line in step.why:
        echo(f"{'':10}   {line}")


@commands.command(
    epilog="Example: compress shard --dataset flowers --stage generate --index 7 --of 64"
)
@shared.with_options
def shard(
    options: SettingsOptions,
    host: HostOptions,
    stage: Annotated[str, Option(help="generate or label")],
    index: Annotated[int, Option(min=0, help="Which slice, from 0")] = 0,
    of: Annotated[int, Option(min=1, help="How many slices there are")] = 1,
    only: Annotated[int | None, Option(help="Only the span that starts at this row")] = None,
    prepare: Annotated[
        bool, Option("--prepare", help="Only what all slices share, e.g. probing; run it once")
    ] = False,
    work_dir: WorkDir = None,
    quiet: Quiet = False,
) -> None:
    """Make a slice of a stage's images or labels, e.g. in an array job; `build` finds them."""
    from compress import api
    from compress.engine.progress import QuietProgress, RichProgress
    from compress.engine.slices import Slice

    files = api.shard(
        options.settings(),
        stage,
        Slice(index, of, only, prepare),
        work_dir=work_dir,
        host=host.settings(),
        progress=QuietProgress() if quiet else RichProgress(),
    )
    if not files:
        echo("nothing to make: the stage is finished, or no span is in this slice")
    for file in files:
        echo(str(file))


def _plan_lines(steps: Iterable[Step]) -> Iterator[str]:
    """What happens to each stage, and why; those that wait for the same one share a line."""
    for action, group in groupby(steps, key=lambda step: step.action):
        found = list(group)
        if action.startswith("behind "):
            names = ", ".join(step.stage for step in found)
            yield f"{'then':10} {names}"
            continue
        for step in found:
            first, *more = step.why or ("",)
            yield f"{step.stage:10} {action:8} {first}".rstrip()
            yield from (f"{'':19} {line}" for line in more)
