"""Commands that build: ``build``, ``explain``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option, Typer, echo

from compress.cli import options as shared
from compress.cli.options import Device, Quiet, SettingsOptions, WorkDir, Workers
from compress.cli.runs import print_summary

if TYPE_CHECKING:
    from compress.engine.plan import Step

commands = Typer()


@commands.command()
@shared.with_settings_options
def build(
    options: SettingsOptions,
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
    device: Device = "cpu",
    workers: Workers = 2,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the plan and stop")] = False,
    quiet: Quiet = False,
) -> None:
    """Build a classifier.

    Stages: data, teacher, generate, label, distill, quantize, export, bench, report.
    """
    from compress import api
    from compress.engine.progress import QuietProgress, RichProgress
    from compress.report.artifact import ReportArtifact

    settings = options.settings(budget or ())
    if dry_run:
        if settings.budget.limits and settings.budget.search:
            from compress.search.zoo import students

            limits = ", ".join(settings.budget.limits)
            echo(f"{'search':10} {', '.join(students(settings))} for {limits}")
        _print_plan(api.plan(settings, work_dir=work_dir, until=until))
        return
    run = api.build(
        settings=settings,
        work_dir=work_dir,
        name=name,
        until=until,
        command=shlex.join(["compress", *sys.argv[1:]]),
        host=shared.host_settings(device, workers),
        progress=QuietProgress() if quiet else RichProgress(),
        benches=bench or (),
    )
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


@commands.command()
@shared.with_settings_options
def explain(
    stage: Annotated[str, Argument(help="A stage, e.g. distill")],
    options: SettingsOptions,
    work_dir: WorkDir = None,
) -> None:
    """Say why a stage would be kept or made again, field by field."""
    from compress import api

    _print_plan([api.explain(options.settings(), stage, work_dir=work_dir)])


def _print_plan(steps: Iterable[Step]) -> None:
    for step in steps:
        echo(f"{step.stage:10} {step.action:16} {step.key or ''}")
        for line in step.why:
            echo(f"{'':10}   {line}")
