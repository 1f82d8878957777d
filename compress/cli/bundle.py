"""Commands about a finished bundle: use it, measure it, export it, put it into an app. The other
half of ``cli.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def classify(arguments: Annotated[list[str], typer.Argument(help="BUNDLE IMAGE...")]) -> None:
    """Classify images with a bundle (the same as python -m runtime classify)."""
    _runtime("classify", arguments)


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def bench(
    arguments: Annotated[list[str], typer.Argument(help="BUNDLE [--teacher PATH] [--out FILE]")],
) -> None:
    """Measure a bundle on this machine, beside its teacher (the same as python -m runtime
    bench).
    """
    _runtime("bench", arguments)


@commands.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def verify(arguments: Annotated[list[str], typer.Argument(help="BUNDLE")]) -> None:
    """Check a bundle on this machine, step by step (the same as python -m runtime verify)."""
    _runtime("verify", arguments)


@commands.command()
def export(
    bundle: Annotated[
        Path, typer.Argument(help="A bundle's folder; with --teacher, the new folder")
    ],
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", help="A target: fp16, fp32.batch1, int8.u8in, tensorrt, ...; may be repeated"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A new bundle. Default: the targets are added in place")
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="Write the targets in this opset (18..22)")
    ] = None,
    ir: Annotated[int | None, typer.Option(help="State this IR version (8..10)")] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder of images to verify on, besides the bundle's")
    ] = None,
    print_commands: Annotated[
        bool,
        typer.Option(
            "--print-commands",
            help="With --to tensorrt: trtexec and polygraphy lines; needs no GPU",
        ),
    ] = False,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Write a teacher's bundle: MODEL/TAG, a folder, petals, or a run's folder"
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="The teacher's classes: names with commas between")
    ] = None,
    classes_file: Annotated[
        Path | None, typer.Option(help="The teacher's classes: a file, one name a line")
    ] = None,
    student: Annotated[
        Path | None, typer.Option("--bundle", help="The teacher's classes: those of this bundle")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the teacher: fp32 or fp16")] = "fp32",
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="The teacher's architecture alone, for timing; marked everywhere",
        ),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look for the teacher's weights on this machine only")
    ] = False,
) -> None:
    """Make further files from a bundle, each verified on real images; or a teacher's bundle, with
    --teacher.
    """
    if teacher is not None:
        from compress.cli.app import _class_names
        from export.teacher.bundle import export_teacher

        made = export_teacher(
            teacher,
            bundle,
            classes=_class_names(classes, classes_file),
            student=student,
            precision=precision,
            random_weights=random_weights,
            images=images,
            opset=opset or 20,
            offline=offline,
        )
        for key, file in made["models"].items():
            typer.echo(
                f"{key:11} {made['files'][file]['bytes'] / 1e6:10,.1f} MB  weights: "
                f"{made['weights']}  {bundle}"
            )
        return
    if (
        to == ["tensorrt"] and out is None
    ):  # on a device, without the packages that the other targets need
        _runtime("engine", [str(bundle), *(["--print-commands"] if print_commands else [])])
    from export.targets.write import export_targets

    for key, row in export_targets(
        bundle, to or (), out=out, opset=opset, ir=ir, images=images
    ).items():
        typer.echo(f"{row['state']:11} {key:18} {row['file']}\n{'':11} {row['why']}")


@commands.command()
def report(
    run: Annotated[
        Path, typer.Argument(help="The folder of a finished run, or its name in the work folder")
    ],
    bench: Annotated[
        list[Path] | None, typer.Option(help="bench.json of another device; may be repeated")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes. Default: the run's folder")
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option(help="Default: $CLIP2EDGE_WORK, else ./work")
    ] = None,
) -> None:
    """Render a finished run's report again, with what other devices measured (compress bench BUNDLE
    --out bench.json).
    """
    from compress import api
    from compress.report.rerender import rerender
    from compress.report.sections.devices import device_sentence

    named = api.work_folder(work_dir) / "runs" / run
    folder = run if run.is_dir() or not named.is_dir() else named
    made = rerender(folder, bench or (), out)
    typer.echo(made["headline"])
    if made["devices"]:
        typer.echo(device_sentence(made))
    typer.echo(f"report  {(out or folder) / 'report.html'}")


@commands.command("app")
def app_(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle")],
    out: Annotated[Path, typer.Argument(help="New folder for the app")],
    target: Annotated[str, typer.Option(help="python, web, cpp, triton or jetson")],
    precision: Annotated[
        str, typer.Option(help="Model of the bundle that the app runs; auto: the bundle's default")
    ] = "auto",
    ort: Annotated[
        Path | None,
        typer.Option(help="web: folder of the npm package onnxruntime-web, copied into the app"),
    ] = None,
) -> None:
    """Write an app that embeds the student: a script, a web page, a C++ project, a Triton
    repository, a Jetson container.
    """
    from compress.engine.errors import MissingExtraError

    try:
        from export.apps import TARGETS, write_app
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"an app needs {error.name}", remedy="pip install 'clip2edge[build]'"
        ) from error
    folder = write_app(bundle, target, out, precision=precision, ort=ort)
    typer.echo(f"{TARGETS[target].says}: {folder}\nnext: cd {folder}; {TARGETS[target].start}")
    typer.echo(f"what is what: {folder / 'README.md'}")


@commands.command()
def estimate(
    model: Annotated[Path, typer.Argument(help="A bundle, or an ONNX file")],
    device: Annotated[str, typer.Option(help="A device (compress list devices)")] = "host",
    precision: Annotated[
        str | None, typer.Option(help="Whose blocks are shown. Default: the fastest")
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="A bench.json of that device and of this bundle")
    ] = None,
    calibration: Annotated[list[Path] | None, typer.Option(help="A file that --save wrote")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Where the calibration is kept for later estimates")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Estimate a model on a device that is not here: a roofline from its graph, marked as an
    estimate everywhere.
    """
    from compress.cli.estimate import estimate_command

    estimate_command(model, device, precision, calibrate, calibration or [], save, as_json)


@commands.command()
def sensitivity(
    run: Annotated[
        str, typer.Argument(help="A finished run: its folder, or its name in the work folder")
    ],
    blocks: Annotated[int, typer.Option(help="Most blocks that the network is cut into")] = 10,
    images: Annotated[int, typer.Option(help="Held-out views that accuracy is counted on")] = 512,
    seconds: Annotated[float, typer.Option(help="Of each of the three timings")] = 20.0,
    threads: Annotated[int, typer.Option(help="Threads of the engine while timing")] = 1,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Add model.mixed.onnx to the run's bundle if it beats int8 and fp32"
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars")] = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Default: $CLIP2EDGE_WORK, else ./work")
    ] = None,
) -> None:
    """Should I quantize? What int8 costs and saves in every block of a student, and the mixture to
    ship here.
    """
    from compress import api
    from compress.engine.progress import SILENT, RichProgress
    from compress.engine.runs import find_run, open_run
    from compress.report.rerender import add_sensitivity
    from export.sensitivity.measure import Options, lines
    from export.sensitivity.measure import run as look

    folder = find_run(run, api.work_folder(work_dir))
    opened = open_run(folder, SILENT if quiet else RichProgress())
    found = look(opened, Options(blocks, images, seconds, threads), write=write)
    for line in lines(found):
        typer.echo(line)
    told = add_sensitivity(folder, found)
    typer.echo(
        f"report  {folder / 'report.html'}" if told else f"written to {folder / 'sensitivity.json'}"
    )


@commands.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Say what this machine can build, run and measure, and the command that mends each gap."""
    from compress.cli.doctor import doctor as look

    raise typer.Exit(look(as_json))


def _runtime(command: str, arguments: list[str]) -> None:
    from runtime.__main__ import main as runtime_main

    raise typer.Exit(runtime_main([command, *arguments]))
