"""The package ``runtime``: what an import loads, its public names, and which Python it needs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import runtime
from runtime.bench.cold import HEAVY
from runtime.commands.findings import MIN_PYTHON

SOURCES = sorted((ROOT / "runtime").rglob("*.py"))
OLDEST = ".".join(map(str, MIN_PYTHON))


def test_an_import_loads_no_engine_and_nothing_heavy() -> None:
    modules = (*HEAVY, "onnxruntime", "tensorrt")
    code = f"import sys\nfrom runtime import *\nprint([m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_errors_load_without_numpy() -> None:
    code = "import sys; sys.modules['numpy'] = None; from runtime import BundleError"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_loads_and_no_other() -> None:
    assert all(getattr(runtime, name) is not None for name in runtime.__all__)
    assert set(runtime.__all__) <= set(dir(runtime))
    with pytest.raises(AttributeError, match="has no attribute 'teacher'"):
        runtime.teacher  # noqa: B018
    assert runtime.bundle.open_bundle is runtime.open_bundle


def vermin(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["vermin", f"-t={OLDEST}-", "--no-tips", "--violations", str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("vermin") is None, reason="needs vermin: pip install vermin")
def test_the_oldest_python_runs_the_package(tmp_path: Path) -> None:
    done = vermin(ROOT / "runtime")
    assert done.returncode == 0, done.stdout
    (tmp_path / "newer.py").write_text("import tomllib\n")
    assert vermin(tmp_path).returncode != 0, "the guard sees a module of Python 3.11"


def test_the_oldest_python_parses_every_file() -> None:
    for path in SOURCES:
        ast.parse(path.read_text(), path.name, feature_version=MIN_PYTHON)


def test_the_package_compiles_and_imports_alone(tmp_path: Path) -> None:
    """As in an exported app: nothing but the files of ``runtime``."""
    shutil.copytree(ROOT / "runtime", tmp_path / "runtime")
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in SOURCES]
    modules = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    blocked = ("compress", "export", "torch", "onnx", "scipy", "typer", "pydantic")
    code = f"""
import sys
from importlib import import_module
for name in {blocked!r}:
    sys.modules[name] = None
for name in {modules!r}:
    assert import_module(name).__file__.startswith({str(tmp_path)!r}), name
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def commands_named(text: str) -> set[str]:
    """Subcommands in "compress bench" and "python -m runtime engine"."""
    return set(re.findall(r"\b(?:compress|python -m runtime) ([a-z]+(?:-[a-z]+)*)\b", text))


def test_every_command_that_a_message_names_exists() -> None:
    from typer.main import get_command

    from compress.cli.app import app

    known = {*get_command(app).commands, "classify", "verify", "engine", "doctor", "bench"}
    named = set().union(*(commands_named(path.read_text()) for path in SOURCES))
    assert {"build", "bench"} <= named, "the pattern finds commands"
    assert named <= known


def test_the_old_name_of_normalize_still_works() -> None:
    import runtime

    assert runtime.normalise is runtime.normalize
