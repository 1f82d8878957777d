"""Commands about a finished bundle: use it, measure it, export it, put it into an app.

And ``doctor``, which asks the same of the machine.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, Typer, echo

from compress.cli.options import Offline, Quiet, WorkDir, class_names, known_work
from compress.engine.errors import MissingExtraError

commands = Typer()
#: The device side parses these arguments itself, --help too.
PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


@commands.command(
    context_settings=PASSED_ON, epilog="Example: compress classify bundle/ photo.jpg photos/"
)
def classify(arguments: Annotated[list[str], Argument(help="BUNDLE IMAGE|FOLDER...")]) -> None:
    """Classify images and folders of them (the same as python -m runtime classify)."""
    _runtime("classify", arguments)


@commands.command("add-class", epilog="Example: compress add-class bundle/ photos-of/tulip")
def add_class_(
    bundle: Annotated[Path, Argument(help="A bundle's folder; a zipped one with --out")],
    folder: Annotated[
        Path, Argument(help="Photos of the class, or a subfolder of photos for each class")
    ],
    name: Annotated[str | None, Option(help="Of the class. Default: the folder's")] = None,
    out: Annotated[Path | None, Option(help="A new folder. Default: in place, in one step")] = None,
    test: Annotated[
        Path | None, Option(help="Labeled photos, a subfolder each: accuracy before and after")
    ] = None,
    threads: Annotated[
        int | None, Option(min=1, max=1024, help="Default: the usable physical cores")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON")] = False,
) -> None:
    """Add classes to a bundle from a few photos, without training (python -m runtime add-class)."""
    from export.bundle.folder import held
    from runtime.commands.add_class import add_and_test, lines, to_json
    from runtime.commands.trial import Stranger, require_bounded
    from runtime.files.paths import bundle_path
    from runtime.files.strict_json import to_text

    require_bounded([Stranger(bundle, ())], threads)
    goal = bundle_path(bundle) if out is None else out
    with held(goal):
        addition, tested = add_and_test(
            bundle, folder, name=name, out=out, test=test, threads=threads
        )
    document = to_json(addition, tested)
    echo(to_text(document, 2) if as_json else "\n".join(lines(addition, tested)))


@commands.command(
    context_settings=PASSED_ON, epilog="Example: compress stream bundle/ video.mp4 --frames 12"
)
def stream(arguments: Annotated[list[str], Argument(help="BUNDLE CAMERA|VIDEO|FOLDER")]) -> None:
    """Steady labels of a camera, a video or a folder of frames (python -m runtime stream)."""
    _runtime("stream", arguments)


@commands.command(epilog="Example: compress evaluate bundle/ new-photos/ --out out/")
def evaluate(
    bundle: Annotated[Path, Argument(help="A bundle: its folder, zipped, or a model file of it")],
    folder: Annotated[
        Path, Argument(help="Labeled images: class folders, train/ and test/, labels.csv, archive")
    ],
    out: Annotated[
        Path | None, Option(help="Write evaluation.json and evaluation.html into this folder")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON")] = False,
    html: Annotated[
        bool, Option("--html", help="Write evaluation.html alone, without --out into this folder")
    ] = False,
    split: Annotated[
        str | None, Option(help="Which images. Default: the test split, all without one")
    ] = None,
    precision: Annotated[str, Option(help="auto, int8, fp32, ...")] = "auto",
    threads: Annotated[
        int | None, Option(min=1, max=1024, help="Default: the usable physical cores")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Accuracy, confusions and worst mistakes of a bundle on a new labeled folder."""
    from compress import api
    from compress.assess.artifact import EvaluationArtifact
    from compress.assess.terminal import tables
    from compress.engine.progress import QuietProgress, RichProgress

    files = EvaluationArtifact(out or Path())
    if out is not None or html:
        files.require_writable()
    result = api.evaluate(
        bundle,
        folder,
        split=split,
        precision=precision,
        threads=threads,
        progress=QuietProgress() if quiet else RichProgress(),
    )
    if as_json:
        echo(result.to_text())
    else:
        from rich.console import Console

        Console().print(*tables(result), sep="\n", highlight=False)
    if out is not None and not html:
        files.write_json(result)
    if out is not None or html:
        files.write_page(result)
        echo(f"page  {files.html}", err=as_json)


@commands.command(epilog="Example: compress suggest bundle/ unlabeled/ --count 20 --out to-label/")
def suggest(
    bundle: Annotated[Path, Argument(help="A bundle: its folder, or zipped")],
    folder: Annotated[Path, Argument(help="Unlabeled images: all at and below it")],
    count: Annotated[int, Option(min=1, max=1000, help="Images to choose")] = 20,
    out: Annotated[
        Path | None, Option(help="Write suggestions.csv and suggestions.jpg into this folder")
    ] = None,
    precision: Annotated[str, Option(help="auto, int8, fp32, ...")] = "auto",
    threads: Annotated[
        int | None, Option(min=1, max=1024, help="Default: the usable physical cores")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Choose the images that are most worth a label: unsure answers, unlike what is known."""
    from rich.console import Console

    from compress.engine.progress import QuietProgress, RichProgress
    from compress.suggest.artifact import SuggestionArtifact
    from compress.suggest.suggest import suggest_images
    from compress.suggest.terminal import tables
    from runtime.commands.trial import Stranger, require_bounded

    files = None if out is None else SuggestionArtifact(out)
    if files is not None:
        files.require_writable()
    require_bounded([Stranger(bundle, (precision,))], threads)
    progress = QuietProgress() if quiet else RichProgress()
    result = suggest_images(
        bundle, folder, count, precision=precision, threads=threads, progress=progress
    )
    Console().print(*tables(result), sep="\n", highlight=False)
    if files is not None:
        files.write(result)
        echo(f"table  {files.csv}\nsheet  {files.sheet}")


@commands.command(
    context_settings=PASSED_ON,
    epilog="Example: compress bench bundle/ --teacher teacher/ --out pi.json",
)
def bench(arguments: Annotated[list[str], Argument(help="BUNDLE [--teacher PATH]")]) -> None:
    """Measure a bundle on this machine, beside its teacher (python -m runtime bench)."""
    _runtime("bench", arguments)


@commands.command(context_settings=PASSED_ON, epilog="Example: compress verify bundle/")
def verify(
    arguments: Annotated[list[str] | None, Argument(help="BUNDLE")] = None,
    store: Annotated[
        bool, Option("--store", help="Instead: hash every finished stage of a work folder")
    ] = False,
    work_dir: WorkDir = None,
) -> None:
    """Check a bundle on this machine, step by step (the same as python -m runtime verify)."""
    if store:
        _verify_store(work_dir)
    _runtime("verify", arguments or [])


@commands.command(epilog="Example: compress export bundle/ --to fp16")
def export(
    bundle: Annotated[Path, Argument(help="A bundle's folder; with --teacher, the new folder")],
    to: Annotated[
        list[str] | None, Option(help="A target, e.g. fp16, int8.u8in, tensorrt; may be repeated")
    ] = None,
    out: Annotated[Path | None, Option(help="A new bundle. Default: added in place")] = None,
    opset: Annotated[int | None, Option(help="Write the targets in this opset (18..22)")] = None,
    ir: Annotated[int | None, Option(help="State this IR version (8..10)")] = None,
    images: Annotated[Path | None, Option(help="Further images to verify on: a folder")] = None,
    converter_env: Annotated[
        Path | None,
        Option("--converter-env", help="litert: the Python environment of its converter"),
    ] = None,
    print_commands: Annotated[
        bool, Option("--print-commands", help="With --to tensorrt: trtexec lines; needs no GPU")
    ] = False,
    teacher: Annotated[
        str | None,
        Option(help="Write a teacher's bundle: MODEL/TAG, timm:NAME, petals, a folder or a run"),
    ] = None,
    classes: Annotated[str | None, Option(help="The teacher's classes, comma separated")] = None,
    classes_file: Annotated[
        Path | None, Option(help="The teacher's classes: a file, one name a line")
    ] = None,
    classes_from: Annotated[
        Path | None,
        Option("--classes-from", "--bundle", help="The teacher's classes: those of this bundle"),
    ] = None,
    precision: Annotated[str, Option(help="Of the teacher: fp32 or fp16")] = "fp32",
    random_weights: Annotated[
        bool, Option("--random-weights", help="The teacher's architecture alone, for timing")
    ] = False,
    offline: Offline = False,
) -> None:
    """Add files to a bundle, each verified on real images; with --teacher, a teacher's bundle."""
    if teacher is not None:
        from export.teacher.bundle import export_teacher

        manifest = export_teacher(
            teacher,
            bundle,
            classes=class_names(classes, classes_file),
            student=classes_from,
            precision=precision,
            random_weights=random_weights,
            images=images,
            opset=opset or 20,
            offline=offline,
        )
        for key, file in manifest["models"].items():
            size = f"{manifest['files'][file]['bytes'] / 1e6:10,.1f} MB"
            echo(f"{key:11} {size}  weights: {manifest['weights']}  {bundle}")
        return
    if to == ["tensorrt"] and out is None:
        # a device lacks the packages that other targets need
        _runtime("engine", [str(bundle), *(["--print-commands"] if print_commands else [])])
    from export.targets.write import export_targets
    from runtime.commands.trial import Stranger, require_bounded

    require_bounded([Stranger(bundle, ())])
    rows = export_targets(
        bundle, to or (), out=out, opset=opset, ir=ir, images=images, converter_env=converter_env
    )
    for key, row in rows.items():
        echo(f"{row['state']:11} {key:18} {row['file']}\n{'':11} {row['why']}")


@commands.command(epilog="Example: compress app bundle/ my-app/ --target web")
def app(
    bundle: Annotated[Path, Argument(help="Folder of a bundle")],
    out: Annotated[Path, Argument(help="New folder for the app")],
    target: Annotated[
        str, Option(help="python, web, cpp, android, pi-camera, microcontroller, triton or jetson")
    ],
    precision: Annotated[str, Option(help="Model to run; auto: the bundle's default")] = "auto",
    ort: Annotated[
        Path | None, Option(help="web: folder of the npm package onnxruntime-web, copied in")
    ] = None,
) -> None:
    """Write an app for the student: a script, a page, C++, a phone, a camera, a microcontroller."""
    try:
        from export.apps import TARGETS, write_app
    except ModuleNotFoundError as error:
        what = f"an app needs {error.name}"
        raise MissingExtraError(what, remedy="pip install 'clip2edge[build]'") from error
    from runtime.commands.trial import Stranger, require_bounded

    require_bounded([Stranger(bundle, (precision,))])
    folder = write_app(bundle, target, out, precision=precision, ort=ort)
    enter = shlex.join(["cd", str(folder)])
    echo(f"{TARGETS[target].says}: {folder}\nnext: {enter}; {TARGETS[target].start}")
    echo(f"what is what: {folder / 'README.md'}")


@commands.command("doctor", epilog="Example: compress doctor")
def doctor_(as_json: Annotated[bool, Option("--json", help="Print JSON")] = False) -> None:
    """Say what this machine can build, run and measure, and the command that mends each gap."""
    from compress.cli.doctor import doctor

    raise Exit(doctor(as_json))


def _verify_store(work_dir: str | None) -> None:
    from compress.engine.store import Store

    damaged = 0
    for stage, key, damage in Store.of(known_work(work_dir)).check():
        damaged += damage is not None
        echo(f"{'damaged' if damage else 'ok':8} {stage:10} {key}  {damage or ''}".rstrip())
    if damaged:
        echo(f"{damaged} damaged: the next build that needs one makes it again", err=True)
    raise Exit(1 if damaged else 0)


def _runtime(command: str, arguments: list[str]) -> None:
    from runtime.__main__ import main

    raise Exit(main([command, *arguments]))
