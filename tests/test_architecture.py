"""Who may import whom, and what may not be loaded: each guard is shown to fail when its rule is
broken.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

ROOMS = ("benchmarks", "export", "compress", "runtime")
MAY_IMPORT = {
    "benchmarks": {"benchmarks", "export", "compress", "runtime"},
    "export": {"export", "compress", "runtime"},
    "compress": {"compress", "runtime"},
    "runtime": {"runtime"},
}
# the ones that reach up, inside functions, and how far
COMPOSERS = {
    "compress/cli/app.py": {"export", "benchmarks"},
    "compress/cli/bundle.py": {"export"},
    "compress/engine/runner.py": {"export"},
}
RUNTIME_FOREIGN = {"numpy", "PIL", "onnxruntime", "pynvml"}


def imports(source: str) -> list[tuple[str, bool]]:
    """(top-level package, is it at module level) of every import in a source text."""
    found = []
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        found += [(name.partition(".")[0], id(node) not in inside) for name in names]
    return found


def violations(relative: str, source: str) -> list[str]:
    """What a file imports against the table."""
    room = relative.partition("/")[0]
    out = []
    for package, at_top in imports(source):
        if package in ROOMS and package not in MAY_IMPORT[room]:
            if package in COMPOSERS.get(relative, ()) and not at_top:
                continue
            out.append(f"{relative} imports {package}")
        if (
            room == "runtime"
            and package not in ROOMS
            and package not in RUNTIME_FOREIGN | set(sys.stdlib_module_names)
        ):
            out.append(f"{relative} imports {package}")
    return out


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def test_imports_point_one_way() -> None:
    found = [
        v for path in sources() for v in violations(str(path.relative_to(ROOT)), path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    ("relative", "source"),
    [
        ("runtime/classifier.py", "import torch"),
        ("runtime/classifier.py", "def f():\n    import typer"),
        ("runtime/classifier.py", "from compress.engine.errors import DataError"),
        (
            "compress/evaluate/metrics.py",
            "def f():\n    from export.bundle.write import write_bundle",
        ),
        ("compress/engine/runner.py", "from export.bundle.write import update_default"),
        ("export/stage.py", "import benchmarks.sidclip"),
    ],
)
def test_the_guard_sees_a_broken_rule(relative: str, source: str) -> None:
    assert violations(relative, source)


def loaded(code: str, forbidden: tuple[str, ...]) -> str:
    """Runs code in a fresh interpreter and says which forbidden modules it loaded."""
    script = f"import sys\n{code}\nprint('LOADED', *(m for m in {forbidden!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout.strip().splitlines()[-1].removeprefix("LOADED").strip()


HEAVY = ("torch", "timm", "open_clip", "diffusers", "transformers", "onnx", "scipy", "matplotlib")


def test_import_runtime_loads_nothing_heavy() -> None:
    assert loaded("import runtime", (*HEAVY, "typer", "pydantic", "rich", "compress")) == ""


def test_help_and_planning_load_no_torch() -> None:
    help_code = (
        "import contextlib\nwith contextlib.suppress(SystemExit):\n    from "
        "compress.cli.app import app\n    app(['--help'])"
    )
    assert loaded(help_code, HEAVY) == ""
    assert loaded("import compress.api; compress.api.settings_for('petals')", HEAVY) == ""


def test_the_loading_guard_sees_torch() -> None:
    assert loaded("import torch", HEAVY) == "torch"


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): n
        for path in sources()
        if (n := len(path.read_text().splitlines())) > 400
    }
    assert not long
