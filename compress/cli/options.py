"""Options that commands share, and the parsing of their values."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option, echo

from compress.engine.errors import ConfigError, found, joined

if TYPE_CHECKING:
    from compress.engine.config import HostSettings, Settings

MOST_DIGITS = 9  # of --shots
SCALE = "Beyond one process"  # a panel of the help

Data = Annotated[
    Path | None,
    Option(
        help="A folder or archive of images: train/ and test/, one that is split, or labels.csv"
    ),
]
TEACHER = "open_clip model/tag, a local folder, timm:NAME, timm:NAME@FILE, or petals"
Teacher = Annotated[str | None, Option(help=TEACHER)]
Teachers = Annotated[
    list[str] | None, Option("--teacher", help=f"{TEACHER}; repeat it: their answers are averaged")
]
Generator = Annotated[str | None, Option(help="kandinsky-2.2, a local folder, or petals")]
Set = Annotated[
    list[str] | None, Option("--set", help="Any setting: section.field=value; may be repeated")
]
Offline = Annotated[bool, Option("--offline", help="Never use the network")]
WorkDir = Annotated[
    str | None,
    Option(
        metavar="PATH|URL",
        help="Where all is kept, also s3://BUCKET/FOLDER. Default: $CLIP2EDGE_WORK, else ./work",
    ),
]
Device = Annotated[str, Option(help="Where the networks run: cpu, cuda, cuda:1")]
Workers = Annotated[int, Option(min=1, help="Threads that read and augment images")]
Quiet = Annotated[bool, Option("--quiet", help="No progress bars; notes are shown")]


@dataclass(frozen=True)
class SettingsOptions:
    """The options that settings are resolved from, shared by ``build`` and ``explain``."""

    dataset: Annotated[
        str | None,
        Option(help="A named dataset (compress list datasets). Default: petals, offline"),
    ] = None
    data: Data = None
    classes: Annotated[
        str | None, Option(help='Class names in place of images: "water lily,tacos"')
    ] = None
    classes_file: Annotated[Path | None, Option(help="Class names, one a line")] = None
    shots: Annotated[
        str | None,
        Option(metavar="K|all", help="Labeled images per class. Default: 4, 0 for names"),
    ] = None
    teacher: Teachers = None
    generator: Generator = None
    student: Annotated[str | None, Option(help="A timm model name, or petal_cnn")] = None
    preset: Annotated[str | None, Option(help="One of list presets. Default: edge")] = None
    set_: Set = None
    seed: Annotated[int | None, Option(help="The run's seed. Default: 0")] = None
    offline: Offline = False
    config_file: Annotated[
        Path | None,
        Option("--config", "--from", help="config.yaml, run or bundle whose settings to repeat"),
    ] = None

    def settings(self, budget: Sequence[str] = ()) -> Settings:
        """The settings that the options resolve to."""
        from compress import api
        from compress.engine.config import parse_set

        parts: dict[str, Any] = {}
        wrong = found(
            (
                lambda: parts.update(classes=class_names(self.classes, self.classes_file)),
                lambda: parts.update(shots=None if self.shots is None else parse_shots(self.shots)),
                lambda: parts.update(overrides=parse_set(self.set_ or [])),
            )
        )
        if wrong:
            raise joined(wrong, "options cannot be read")
        return api.settings_for(
            self.dataset,
            data=self.data,
            teacher=self.teacher or None,
            generator=self.generator,
            student=self.student,
            preset=self.preset,
            seed=self.seed,
            offline=self.offline,
            config_file=self.config_file,
            budget=budget,
            **parts,
        )


@dataclass(frozen=True)
class HostOptions:
    """Where and how it runs, which changes no result; shared by the commands that build."""

    device: Device = "cpu"
    workers: Workers = 2
    engine: Annotated[
        str,
        Option(help="Who makes images and labels: local, processes or ray", rich_help_panel=SCALE),
    ] = "local"
    address: Annotated[
        str | None,
        Option(help="Of a Ray cluster, e.g. auto. Default: one here", rich_help_panel=SCALE),
    ] = None
    jobs: Annotated[
        int | None,
        Option(min=1, help="Processes side by side. Default: a core each", rich_help_panel=SCALE),
    ] = None
    task_cpus: Annotated[
        float, Option(min=0, help="Cores of each task on Ray", rich_help_panel=SCALE)
    ] = 1.0
    task_gpus: Annotated[
        float, Option(min=0, help="GPUs of each task on Ray: 0.5 shares one", rich_help_panel=SCALE)
    ] = 0.0
    mixed_fleet: Annotated[
        bool,
        Option(
            "--mixed-fleet",
            help="Accept machines that compute differently; the report says so",
            rich_help_panel=SCALE,
        ),
    ] = False

    def settings(self) -> HostSettings:
        """How to run; ConfigError if torch cannot use the device."""
        from compress.engine.config import HostSettings

        if self.engine != "ray":  # there the workers have the devices
            require_device(self.device)
        return HostSettings(**vars(self))


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the fields of `SettingsOptions` and `HostOptions` for such parameters.

    Typer reads options from the signature of a command.
    """
    groups: dict[str, tuple[type, tuple[str, ...]]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if parameter.annotation in (SettingsOptions, HostOptions):
            group = inspect.signature(parameter.annotation, eval_str=True).parameters
            groups[name] = parameter.annotation, tuple(group)
            parameters += group.values()
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        grouped = {
            name: group(**{field: values.pop(field) for field in fields})
            for name, (group, fields) in groups.items()
        }
        command(**grouped, **values)

    # typer takes no parameter without a default after one with one
    parameters.sort(key=lambda one: one.default is not inspect.Parameter.empty)
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


def parse_shots(text: str) -> int | Literal["all"]:
    """The value of ``--shots``; ConfigError if it is neither a number nor "all"."""
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdigit()) or len(text) > MOST_DIGITS:
        expected = 'a number of images per class, or "all"'
        raise ConfigError("--shots is no number", got=repr(text), expected=expected)
    return int(text)


def class_names(classes: str | None, classes_file: Path | None) -> list[str] | None:
    """The names in ``--classes`` or ``--classes-file``; None without either."""
    if classes is not None and classes_file is not None:
        got = "--classes and --classes-file"
        raise ConfigError("class names are given twice", got=got, expected="one of them")
    if classes_file is not None:
        return listed_names(classes_file)
    if classes is None:
        return None
    if "," not in classes and Path(classes).is_file():
        what, expected = "--classes takes the names themselves", '"water lily,tacos"'
        raise ConfigError(
            what, got=f"the file {classes}", expected=expected, remedy=f"--classes-file {classes}"
        )
    names = [name.strip() for name in classes.split(",")]
    if not names[-1]:  # a comma at the end
        del names[-1]
    if not all(names):
        what, remedy = "a class name is empty", "check the commas of --classes"
        raise ConfigError(what, got=repr(classes), expected='"water lily,tacos"', remedy=remedy)
    return names


def listed_names(file: Path) -> list[str]:
    """The names in a file, one a line, as a text editor or a spreadsheet of one column saves it."""
    from compress.engine.text import read_text

    if not file.is_file():
        raise ConfigError("no such file of class names", got=file)
    names = []
    for number, line in enumerate(read_text(file).split("\n"), 1):
        name = line.strip().strip(";\t").strip()
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = name[1:-1].replace('""', '"').strip()
        if "\t" in name or ";" in name:
            got = f"line {number} of {file}: {name[:80]!r}"
            raise ConfigError("a line of class names has several columns", got=got, expected="one")
        names += [name] if name else []
    return names


def known_work(work_dir: str | None) -> Path:
    """The work folder to look into; says so if nothing is there, ConfigError for no folder."""
    from compress import api
    from compress.engine.remote.mirror import fetch_runs
    from compress.engine.remote.storage import Remote
    from compress.engine.runs import RunFolder

    work = api.work_folder(work_dir)
    if remote := Remote.of(work):
        fetch_runs(remote, RunFolder.of(work, "").path)
    if not os.path.lexists(work):
        echo(f"nothing is there yet: {work}", err=True)
    elif not work.is_dir():
        remedy = "name the folder that builds were given: --work-dir"
        raise ConfigError("this is no work folder", got=work, expected="a folder", remedy=remedy)
    return work


def require_device(device: str) -> None:
    """ConfigError if torch cannot use the device."""
    if device == "cpu":
        return
    import torch

    from compress.engine.ranks import take_gpu

    try:
        take_gpu(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        got = f"--device {device}: {str(error).splitlines()[0]}"
        raise ConfigError("no such device here", got=got, remedy="--device cpu") from error
