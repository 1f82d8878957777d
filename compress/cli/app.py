"""The command line: parse, call, print. One line per error, exit code 2; nothing here needs torch
before it is used.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from compress.cli import bundle as device_cli
from compress.engine.errors import BudgetUnmetError, Clip2EdgeError, ConfigError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn a CLIP teacher and a handful of images into a tiny quantized classifier, and "
    "prove what was lost and gained.",
)
app.add_typer(device_cli.commands)

WorkDir = Annotated[
    Path | None,
    typer.Option(help="Where everything is kept. Default: $CLIP2EDGE_WORK, else ./work"),
]
Dataset = Annotated[
    str | None,
    typer.Option(help="A named dataset (compress list datasets). Default: petals, offline"),
]
Data = Annotated[
    Path | None,
    typer.Option(help="A folder of images: train/ and test/, or one folder that is split"),
]
Classes = Annotated[
    str | None,
    typer.Option(help='Only class names, comma separated: "water lily,tacos"; no images needed'),
]
ClassesFile = Annotated[Path | None, typer.Option(help="Class names, one a line")]
Shots = Annotated[
    str | None,
    typer.Option(
        help='Labeled images per class, or "all". Default: 4 (0 for class names)', metavar="K|all"
    ),
]
TeacherName = Annotated[
    str | None, typer.Option("--teacher", help="open_clip model/tag, a local folder, or petals")
]
GeneratorName = Annotated[
    str | None, typer.Option("--generator", help="kandinsky-2.2, a local folder, or petals")
]
StudentName = Annotated[
    str | None, typer.Option("--student", help="A timm model name, or petal_cnn")
]
Preset = Annotated[str | None, typer.Option(help="A recipe (compress list presets). Default: edge")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: section.field=value; may be repeated"),
]
Seed = Annotated[int | None, typer.Option(help="The run's seed. Default: 0")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="config.yaml of an earlier run to repeat")
]
Device = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, cuda:1")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that read and augment images")]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        help='Limits: "p50<=5ms@orin-nano, size<=6MB, drop<=2pt", or a YAML file; exit code '
        "1 where one is not kept"
    ),
]
Benches = Annotated[
    list[Path] | None,
    typer.Option("--bench", help="bench.json of another device, to judge the budget by"),
]
Until = Annotated[str | None, typer.Option(help="Stop after this stage")]


def _settings(
    dataset: str | None,
    data: Path | None,
    classes: str | None,
    classes_file: Path | None,
    shots: str | None,
    teacher: str | None,
    generator: str | None,
    student: str | None,
    preset: str | None,
    set_: list[str] | None,
    seed: int | None,
    offline: bool,
    config_file: Path | None,
    budget: list[str] | None = None,
) -> Any:
    from compress import api
    from compress.engine import config

    return api.settings_for(
        dataset,
        data=data,
        classes=_class_names(classes, classes_file),
        shots=_shots(shots),
        teacher=teacher,
        generator=generator,
        student=student,
        preset=preset,
        seed=seed,
        offline=offline,
        overrides=config.parse_set(set_ or []),
        config_file=config_file,
        budget=budget or (),
    )


def _shots(text: str | None) -> Any:
    if text is None or text == "all":
        return text
    if not text.isdigit():
        raise ConfigError(
            "--shots is no number",
            got=repr(text),
            expected='a number of images per class, or "all"',
        )
    return int(text)


def _host(device: str, workers: int) -> Any:
    from compress.engine.config import HostSettings

    if device != "cpu":
        import torch

        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            said = str(error).splitlines()[0]
            raise ConfigError(
                "this device cannot be used",
                got=f"--device {device}: {said}",
                remedy="--device cpu",
            ) from error
    return HostSettings(device=device, workers=workers)


def _class_names(classes: str | None, classes_file: Path | None) -> list[str] | None:
    if classes is not None and classes_file is not None:
        raise ConfigError(
            "class names are given twice",
            got="--classes and --classes-file",
            expected="one of them",
        )
    if classes_file is not None:
        if not classes_file.is_file():
            raise ConfigError(
                "no such file of class names",
                got=str(classes_file),
                expected="a text file, one name a line",
            )
        return [line.strip() for line in classes_file.read_text().splitlines() if line.strip()]
    return (
        None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
    )


@app.command()
def build(
    dataset: Dataset = None,
    data: Data = None,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    shots: Shots = None,
    teacher: TeacherName = None,
    generator: GeneratorName = None,
    student: StudentName = None,
    preset: Preset = None,
    set_: Set = None,
    seed: Seed = None,
    offline: Offline = False,
    config_file: ConfigFile = None,
    work_dir: WorkDir = None,
    name: Annotated[str | None, typer.Option(help="The run's name")] = None,
    until: Until = None,
    budget: Budget = None,
    bench: Benches = None,
    device: Device = "cpu",
    workers: Workers = 2,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and stop")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars")] = False,
) -> None:
    """Build a classifier: data, teacher, generate, label, distill, quantize, export, bench,
    report.
    """
    from compress import api
    from compress.engine.progress import SILENT, RichProgress

    settings = _settings(
        dataset,
        data,
        classes,
        classes_file,
        shots,
        teacher,
        generator,
        student,
        preset,
        set_,
        seed,
        offline,
        config_file,
        budget,
    )
    if dry_run:
        if settings.budget.limits and settings.budget.search:
            from compress.search.zoo import students

            typer.echo(
                f"{'search':10} {', '.join(students(settings))} for "
                f"{', '.join(settings.budget.limits)}"
            )
        _print_plan(api.plan(settings, work_dir=work_dir, until=until))
        return
    command = shlex.join(["compress", *sys.argv[1:]])
    run = api.build(
        settings=settings,
        work_dir=work_dir,
        name=name,
        until=until,
        command=command,
        host=_host(device, workers),
        progress=SILENT if quiet else RichProgress(),
        benches=bench or (),
    )
    if not run.made:
        typer.echo("nothing to do: every stage is finished with these settings and inputs")
    if "report" in run.stages:
        _print_summary(run.report)
        typer.echo(f"bundle  {run.bundle}")
        typer.echo(f"report  {run.folder / 'report.html'}")
        _end_with_budget(run.report["budgets"])
    else:
        typer.echo(f"stopped after {until}: {run.folder}")


@app.command()
def explain(
    stage: Annotated[str, typer.Argument(help="A stage, e.g. distill")],
    dataset: Dataset = None,
    data: Data = None,
    classes: Classes = None,
    classes_file: ClassesFile = None,
    shots: Shots = None,
    teacher: TeacherName = None,
    generator: GeneratorName = None,
    student: StudentName = None,
    preset: Preset = None,
    set_: Set = None,
    seed: Seed = None,
    offline: Offline = False,
    config_file: ConfigFile = None,
    work_dir: WorkDir = None,
) -> None:
    """Say why a stage would be kept or made again, field by field."""
    from compress import api

    settings = _settings(
        dataset,
        data,
        classes,
        classes_file,
        shots,
        teacher,
        generator,
        student,
        preset,
        set_,
        seed,
        offline,
        config_file,
    )
    _print_plan([api.explain(settings, stage, work_dir=work_dir)])


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="A run; without it, all runs")] = None,
    work_dir: WorkDir = None,
) -> None:
    """Show the runs of a work folder, or one run's results."""
    from compress import api
    from compress.engine.errors import nearest

    runs = sorted(path.parent for path in (api.work_folder(work_dir) / "runs").glob("*/run.json"))
    if name is None:
        for run in runs:
            record = json.loads((run / "run.json").read_text())
            typer.echo(
                f"{run.name:32} "
                f"{'finished ' + record['end'] if 'end' in record else 'unfinished':34} "
                f"{record['command']}"
            )
        return
    folder = next((run for run in runs if run.name == name), None)
    if folder is None:
        raise ConfigError(
            "no such run",
            got=repr(name),
            remedy=nearest(name, [run.name for run in runs]) if runs else None,
        )
    if not (folder / "report.json").exists():
        raise ConfigError(
            "this run has no report yet",
            got=name,
            remedy=f"compress build --config {folder / 'config.yaml'}",
        )
    _print_summary(json.loads((folder / "report.json").read_text()))
    typer.echo(f"report  {folder / 'report.html'}")


@app.command("list")
def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="datasets, teachers, students, generators, decoders, strategies, prompts, "
            "objectives, presets, methods, devices"
        ),
    ],
    match: Annotated[str, typer.Argument(help="Only names that contain this")] = "",
) -> None:
    """List what can be named on the command line."""
    from compress.cli.listing import names

    for line in names(what):
        if match in line:
            typer.echo(line)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="A paper (compress list methods)")],
    scale: Annotated[
        str, typer.Option(help="mini: the embedded world; full: the paper's data and models")
    ] = "mini",
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be repeated")] = None,
    shots: Annotated[
        list[str] | None, typer.Option(help="Only this number of shots; may be repeated")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Only so many seeds")] = None,
    data: Data = None,
    teacher: TeacherName = None,
    generator: GeneratorName = None,
    offline: Offline = False,
    set_: Set = None,
    device: Device = "cpu",
    workers: Workers = 2,
    out: Annotated[
        Path | None, typer.Option(help="Where the page goes. Default: WORK/papers/PAPER-SCALE.md")
    ] = None,
    work_dir: WorkDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which builds would be made, and stop")
    ] = False,
) -> None:
    """Make a paper's table with this project's methods, beside the paper's own numbers."""
    import time

    from compress import api
    from compress.papers import reproduce as tables

    plan = tables.plan_for(
        paper,
        scale,
        rows=row or (),
        shots=[_shots(k) for k in shots or ()],
        seeds=seeds,
        data=data,
        teacher=teacher,
        generator=generator,
        offline=offline or None,
        sets=set_ or (),
    )
    if dry_run:
        for name in plan.rows:
            typer.echo(name)
        typer.echo(
            f"{plan.cells} builds: {len(plan.rows)} rows, datasets "
            f"{', '.join(plan.datasets)}, {plan.seeds} seeds"
        )
        return
    work, start = api.work_folder(work_dir), time.perf_counter()
    results = tables.run(plan, work, _host(device, workers), say=typer.echo)
    text = tables.page(plan, results, work, (time.perf_counter() - start) / 60)
    target = out or work / "papers" / f"{paper}-{scale}.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    typer.echo(text)
    typer.echo(f"written to {target}")


@app.command()
def clean(
    work_dir: WorkDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, remove nothing")] = False,
) -> None:
    """Remove finished stages that no run uses, and the remains of unfinished ones."""
    from compress import api
    from compress.engine import runs

    work = api.work_folder(work_dir)
    removed, freed = runs.clean(work, runs.linked(work), dry_run=dry_run)
    typer.echo(
        f"{'would remove' if dry_run else 'removed'} {removed} stage folders, {freed / 1e6:.1f} MB"
    )


def _print_plan(steps: list[Any]) -> None:
    for step in steps:
        typer.echo(f"{step.stage:10} {step.action:16} {step.key or ''}")
        for line in step.why:
            typer.echo(f"{'':10}   {line}")


def _print_summary(report: dict[str, Any]) -> None:
    from rich.console import Console

    from compress.report.sections.summary import summary_table

    Console().print(summary_table(report))


def _end_with_budget(rows: list[dict[str, Any]]) -> None:
    """PASS or FAIL per limit; exit code 1 unless every limit is known to be kept."""
    if not rows:
        return
    from compress.budgets.judge import kept, lines

    for line in lines(rows):
        typer.echo(line)
    if not kept(rows):
        raise typer.Exit(1)


def main() -> None:
    """Entry point of ``compress``: errors become one line on stderr and exit code 2."""
    import logging

    from runtime.errors import EdgeError

    for chatty in ("torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
        logging.getLogger(chatty).setLevel(
            logging.ERROR
        )  # warnings about each other, nothing that a user could act on
    try:
        app()
    except BudgetUnmetError as error:
        typer.echo(f"FAIL: {error}", err=True)
        raise SystemExit(1) from error
    except (Clip2EdgeError, EdgeError) as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        typer.echo("stopped: run the same command again to go on where it was", err=True)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
