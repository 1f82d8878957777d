"""What texts name exists: commands, options, settings, files, symbols.

Texts are the docstrings, comments and strings of the product, its templates and its papers.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from pages import BORROWED, MADE
from paths import ROOT
from product_texts import Text, product_texts
from symbols import resolves

from compress.engine.config import Settings

# A command reaches to the end of its line, code span or parenthesis; a backslash continues it.
COMMAND = re.compile(
    r"(?<![\w./-])(?P<program>compress|python -m [a-z]\w*(?:\.\w+)*)(?![\w./-])"
    r"(?: (?P<command>[a-z][a-z-]*))?(?P<rest>(?:\\\n|[^\n`);])*)"
)
END = re.compile(r" #|\bcompress [a-z]|python -m ")  # a comment, or the next command
OPTION = re.compile(r"(?<![\w-])--[a-z]\w*(?:-\w+)*")
ASSIGNMENT = re.compile(r"--set[ =]\"?([a-z_]+(?:\.[a-z_0-9]+)*)=")
SETTING = re.compile(
    rf"(?<![\w./@-])((?:{'|'.join(Settings.model_fields)})(?:\.[a-z_0-9]+)+)(?![\w/(-])"
)
FILE = re.compile(
    r"(?<![\w/.<>}~-])((?:compress|export|runtime|benchmarks|tests|docs)/[\w./-]*\w/?)(?![\w*{<])"
)
SYMBOL = re.compile(
    r"(?<![\w./\"-])((?:compress|export|runtime|benchmarks)(?:\.[A-Za-z_]\w*)+(?::\w+)?)(?![\w/])"
)
ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([\w.]+)`")
PAPER = re.compile(r"(?<![\w/.{}<*-])([\w./-]+\.md)\b")

COMMON = {"--help", "--version"}
#: words behind "compress" that are no commands: Python, and a message of the program about itself
NO_COMMANDS = ("import", "needs")
#: endings of files, by which a name such as ``bench.json`` is no setting and no module
SUFFIXES = {"json", "jsonl", "yaml", "py", "md", "html", "npy", "npz"}
SUFFIXES |= {"onnx", "safetensors", "png", "txt", "cpp", "hpp"}
#: other languages, with names of their own
CODE = {".js", ".css", ".cpp", ".hpp", ".html", ".svg", ".java"}
PLACEHOLDERS = {"section.field", "benchmarks.NAME", "results/NAME.md"}
WRITTEN = {"report.md", "card.md", "PAPER-SCALE.md"}  # documents that the product writes
WRITTEN |= {place.rpartition("/")[2] for place in (*MADE, *BORROWED)}  # and pages of the site
#: names that exist elsewhere: in the repository of onnx-tensorrt; in metrics.json of petals
ELSEWHERE = {
    "docs/operators.md",
    "teacher.zero_shot_names",
    "teacher.attributes_from_prompts.count",
}
#: program of others -> those of its options that texts name
FOREIGN = {
    "pip, venv, uv": "--upgrade --force-reinstall --system-site-packages --python --no-cache-dir "
    "--no-index --find-links --only-binary --platform --python-version",
    "mkdocs": "--strict --site-dir",
    "pytest, ruff": "--pdb --check --strict-markers --dist --import-mode",
    "apt, docker": "--no-install-recommends --build-arg --rm --runtime --cpus",
    "git, mount, umount": "--porcelain --short --make-rprivate --lazy",
    "cmake, onnxruntime's own build": "--build --include_ops_by_config --use_xnnpack",
    "the C++ app": "--top --golden --stream --margin",
    "the Pi camera's app": "--every",
    "systemctl, rpicam-hello": "--now --list-cameras",
    "tritonserver": "--model-repository",
    "tegrastats": "--interval",
    "trtexec": "--onnx --stronglyTyped --saveEngine --builderOptimizationLevel --timingCacheFile "
    "--profilingVerbosity --exportLayerInfo --memPoolSize --noTF32 --warmUp --duration "
    "--useCudaGraph --noDataTransfers --minShapes --optShapes --maxShapes",
    "polygraphy": "--trt --onnxrt --builder-optimization-level --strongly-typed --pool-limit "
    "--atol --rtol --check-error-stat",
    "chromium": "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--mute-audio --use-fake-device-for-media-stream --use-fake-ui-for-media-stream "
    "--user-data-dir --enable-logging --hide-scrollbars --window-size --screenshot",
    "ray": "--head --num-cpus --include-dashboard --disable-usage-stats --force",
    "torchrun": "--nproc-per-node --max-restarts",
}


def problems(text: Text) -> list[str]:
    """All names in a text that lead nowhere."""
    return [problem for check in CHECKS for problem in check(text)]


def commands(text: Text) -> Iterator[str]:
    """Commands that do not exist, and options that their command lacks."""
    for match in COMMAND.finditer(text.text):
        program, command = match["program"].removeprefix("python -m "), match["command"] or ""
        known = commands_of(program)
        if known is None:
            is_ours = program.partition(".")[0] in ("benchmarks", "runtime", "compress")
            if is_ours and program not in PLACEHOLDERS:
                yield f"no program {program}"
        elif command in known or command in NO_COMMANDS or list(known) == [""]:
            there = known.get(command, known.get("", frozenset()))
            for option in OPTION.findall(END.split(match["rest"])[0]):
                if option not in there | COMMON:
                    yield f"{' '.join(filter(None, (program, command)))} has no option {option}"
        else:
            yield f"{program} has no command {command}"


def options(text: Text) -> Iterator[str]:
    """Options that no command has."""
    if not CODE.intersection(text.path.suffixes):
        for option in OPTION.findall(text.text):
            if option not in every_option():
                yield f"no command has the option {option}"


def settings(text: Text) -> Iterator[str]:
    """Settings that do not exist."""
    names = ASSIGNMENT.findall(text.text)
    if not CODE.intersection(text.path.suffixes):
        names += SETTING.findall(text.text)
    for name in names:
        is_other = is_name_of_file(name) or name in PLACEHOLDERS | ELSEWHERE
        if not is_setting(name) and not is_other and not resolves(name, text.module):
            yield f"no setting {name}"


def files(text: Text) -> Iterator[str]:
    """Files of the repository that are not there."""
    for path in FILE.findall(text.text):
        if not (ROOT / path).exists() and path not in ELSEWHERE:
            yield f"no file {path}"


def symbols(text: Text) -> Iterator[str]:
    """Modules and members that do not exist."""
    for name in SYMBOL.findall(text.text):
        is_other = is_name_of_file(name) or name in PLACEHOLDERS or is_setting(name)
        if not is_other and not resolves(name.replace(":", ".")):
            yield f"no symbol {name}"
    for name in ROLE.findall(text.text):
        if not resolves(name, text.module):
            yield f"no symbol {name}"


def papers(text: Text) -> Iterator[str]:
    """Documents that are neither in the repository nor written by the product."""
    for name in PAPER.findall(text.text):
        is_there = name.rpartition("/")[2] in WRITTEN | tracked_names()
        if not is_there and name not in ELSEWHERE | PLACEHOLDERS:
            yield f"no document {name}"


CHECKS: tuple[Callable[[Text], Iterator[str]], ...] = (
    commands,
    options,
    settings,
    files,
    symbols,
    papers,
)


@cache
def commands_of(program: str) -> dict[str, frozenset[str]] | None:
    """Command -> its options; "" where a program has no commands; None where it does not exist."""
    if program == "compress":
        return {**compress_commands(), "": frozenset()}
    if program == "runtime":
        return {**runtime_commands(), "": frozenset()}
    if "." in program and resolves(program):
        return {"": options_in(program)}
    return None


@cache
def compress_commands() -> dict[str, frozenset[str]]:
    """Those of the Typer app; the ones that pass on what they get have the runtime's options."""
    import typer

    from compress.cli.app import app

    group: Any = typer.main.get_command(app)
    found = {
        name: frozenset(o for p in command.params for o in (*p.opts, *p.secondary_opts))
        for name, command in group.commands.items()
    }
    return {name: found[name] | runtime_commands().get(name, frozenset()) for name in found}


@cache
def runtime_commands() -> dict[str, frozenset[str]]:
    """Those of ``python -m runtime``."""
    from runtime.__main__ import _parser

    actions: list[Any] = _parser()._actions
    parsers = next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices
    return {name: frozenset(parser._option_string_actions) for name, parser in parsers.items()}


def options_in(module: str) -> frozenset[str]:
    """The options that a module of benchmarks adds, read from its source."""
    names = [module, "benchmarks.page"] if module.startswith("benchmarks.") else [module]
    paths = [ROOT / name.replace(".", "/") for name in names]
    sources = [path / "__main__.py" if path.is_dir() else path.with_suffix(".py") for path in paths]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source.read_text()))]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    added = [call for call in calls if getattr(call.func, "attr", "") == "add_argument"]
    names = [arg.value for call in added for arg in call.args if isinstance(arg, ast.Constant)]
    return frozenset(name for name in names if name.startswith("-"))


@cache
def every_option() -> frozenset[str]:
    """The options of every command, and those of other programs that texts name."""
    modules = (path.relative_to(ROOT) for path in (ROOT / "benchmarks").rglob("*.py"))
    programs = [".".join(module.with_suffix("").parts) for module in modules]
    ours = [commands_of(program) or {} for program in ("compress", "runtime", *programs)]
    others = " ".join(FOREIGN.values()).split()
    return frozenset().union(COMMON, others, *(names for one in ours for names in one.values()))


def is_setting(path: str) -> bool:
    """Whether a dotted path leads to a setting."""
    model: Any = Settings
    for part in path.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True


def is_name_of_file(name: str) -> bool:
    """Whether a dotted name is that of a file: ``bench.json``, ``export.py``."""
    return name.rpartition(".")[2] in SUFFIXES


@cache
def tracked_names() -> frozenset[str]:
    """Names of the files in the repository."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return frozenset(line.rpartition("/")[2] for line in done.stdout.splitlines())


def test_every_name_in_the_product_leads_somewhere() -> None:
    found = [f"{text.place}: {problem}" for text in product_texts() for problem in problems(text)]
    assert not found, f"{len(found)} names lead nowhere:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run `compress biuld` again", "compress has no command biuld"),
        ("compress build --work-folder X", "compress build has no option --work-folder"),
        ("compress bench BUNDLE \\\n  --outt bench.json", "compress bench has no option --outt"),
        ("`python -m runtime clasify`", "runtime has no command clasify"),
        ("python -m runtime bench B --shots 1", "runtime bench has no option --shots"),
        ("python -m benchmarks.int8", "no program benchmarks.int8"),
        ("python -m benchmarks.towers --model X", "benchmarks.towers has no option --model"),
        ("give it with --work-folder", "no command has the option --work-folder"),
        ("--set distill.stepps=3", "no setting distill.stepps"),
        ("``generate.per_klass`` is the number", "no setting generate.per_klass"),
        ("label.agreement did nothing", "no setting label.agreement"),
        ("see compress/embedded/train.py", "no file compress/embedded/train.py"),
        ("in `tests/compress/absent`", "no file tests/compress/absent"),
        ("``runtime.files.atomik``", "no symbol runtime.files.atomik"),
        ("compress.budgets.grammar.Limmit", "no symbol compress.budgets.grammar.Limmit"),
        ("compress.data.stage:ran", "no symbol compress.data.stage:ran"),
        (":func:`parse_budgets`", "no symbol parse_budgets"),
        ("after methods.md B.2", "no document methods.md"),
    ],
)
def test_a_name_that_leads_nowhere_is_reported(text: str, problem: str) -> None:
    assert problem in problems(Text(ROOT / "README.md", 1, text, "compress.budgets.grammar"))


@pytest.mark.parametrize(
    "text",
    [
        "compress build --dataset petals --shots 4 --set distill.steps=3  # --quiet as well",
        "`compress list devices`; compress verify BUNDLE --json",
        "python -m runtime bench BUNDLE --out bench.json, then compress report RUN --bench FILE",
        "python -m benchmarks.towers --threads 2 --out X; python -m pip install --upgrade pip",
        "bench.json and report.json, ``image.size`` and ``budget.seconds``",
        "compress/budgets/devices/*.yaml, tests/, compress/{data,label}/artifact.py",
        "compress.budgets.grammar.Limit.text, compress.data.stage:run, runtime.Classifier",
        ":func:`parse_budget` and :class:`~compress.budgets.grammar.Limit`, :meth:`holds`",
        "see CONTRIBUTING.md, and report.md of the run",
    ],
)
def test_a_name_that_leads_somewhere_is_not_reported(text: str) -> None:
    assert problems(Text(ROOT / "README.md", 1, text, "compress.budgets.grammar")) == []
