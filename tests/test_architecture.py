"""Which module may import which: import-linter's contracts and no circles, modules in strings too.

Each guard is shown to fail when its rule is broken.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import grimp
import pytest
import tomllib
from paths import ROOT

PACKAGES = ("compress", "export", "runtime", "benchmarks")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
LAYERS = [contract["layers"] for contract in CONTRACTS if contract["type"] == "layers"]
MODULE_IN_STRING = re.compile(rf"^(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?::\w+)?$")
#: what the device side may import besides the standard library; pi_heif, cv2, picamera2: optional
DEVICE = {"numpy", "PIL", "pi_heif", "cv2", "picamera2", "pynvml"}
DEVICE |= {"onnxruntime", "openvino", "ncnn", "ai_edge_litert", "executorch", "tensorrt"}
DEVICE |= {"tflite_micro"}
#: and a single file each
DEVICE_FILES = {"runtime/backends/executorch.py": {"torch"}}  # whose binding takes its tensors


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_in_strings(source: str) -> Iterator[str]:
    """String literals that name a module of ours, e.g. ``"compress.data.stage:run"``."""
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and MODULE_IN_STRING.match(value):
            yield value


@pytest.fixture
def graph() -> grimp.ImportGraph:
    """Every import, also those inside functions and those by a string."""
    built = grimp.build_graph(*PACKAGES)
    for path in sources():
        for text in modules_in_strings(path.read_text()):
            name = text.partition(":")[0]
            if name in built.modules and name != module_of(path):
                built.add_import(importer=module_of(path), imported=name)
    return built


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Groups of modules that import each other (strongly connected components, Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for imported in graph.find_modules_directly_imported_by(name):
            if imported not in order:
                visit(imported)
            if imported in stack:
                low[name] = min(low[name], low[imported])
        if low[name] == order[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                out.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(graph.modules):
        if name not in order:
            visit(name)
    return out


def upward(graph: grimp.ImportGraph) -> list[str]:
    """Arrows against the layers of pyproject.toml."""
    return [
        f"{found.importer} -> {found.imported}"
        for layers in LAYERS
        for found in graph.find_illegal_dependencies_for_layers(layers=tuple(layers))
    ]


def test_the_contracts_of_pyproject_hold() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_circle_between_files_and_no_arrow_up(graph: grimp.ImportGraph) -> None:
    assert not circles(graph)
    assert not upward(graph)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("runtime.classifier", "compress.engine.errors"),
        ("runtime.preprocess.resize", "runtime.classifier"),
        ("compress.data.stage", "compress.teacher.clip"),
        ("compress.report.stage", "compress.api"),
        ("export.stage", "compress.bench.stage"),
        ("compress.cli.app", "benchmarks.signs"),
    ],
)
def test_an_arrow_up_is_seen(graph: grimp.ImportGraph, importer: str, imported: str) -> None:
    graph.add_import(importer=importer, imported=imported)
    assert upward(graph)


def test_a_circle_is_seen(graph: grimp.ImportGraph) -> None:
    graph.add_import(importer="compress.engine.errors", imported="compress.engine.store")
    assert any("compress.engine.errors" in circle for circle in circles(graph))


def test_a_module_in_a_string_is_an_arrow() -> None:
    assert list(modules_in_strings('ROW = ("compress.data.stage:run", "compress is a word")')) == [
        "compress.data.stage:run"
    ]


def test_every_function_in_a_string_exists() -> None:
    named = {text for path in sources() for text in modules_in_strings(path.read_text())}
    functions = {text for text in named if ":" in text}
    assert "compress.data.stage:run" in functions
    for module, _, name in (text.partition(":") for text in functions):
        assert hasattr(import_module(module), name), f"{module}:{name}"


def imported_packages(source: str) -> set[str]:
    """Top-level packages that a source imports, at module level or inside functions."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    from_ = [n.module or "" for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
    return {name.partition(".")[0] for name in plain + from_}


def test_the_device_side_imports_numpy_pillow_and_engines_only() -> None:
    allowed = DEVICE | {"runtime"} | set(sys.stdlib_module_names)
    files = sorted((ROOT / "runtime").rglob("*.py"))
    assert not {
        name: foreign
        for name in (file.relative_to(ROOT).as_posix() for file in files)
        if (
            foreign := imported_packages((ROOT / name).read_text())
            - allowed
            - DEVICE_FILES.get(name, set())
        )
    }
    assert imported_packages("def f():\n    import torch") == {"torch"}


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
        "import contextlib\nwith contextlib.suppress(SystemExit):\n"
        "    from compress.cli.app import app\n    app(['--help'])"
    )
    assert loaded(help_code, HEAVY) == ""
    assert loaded("import compress.api; compress.api.settings_for('petals')", HEAVY) == ""


def test_the_loading_guard_sees_torch() -> None:
    assert loaded("import torch", HEAVY) == "torch"


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_the_formatter_is_never_switched_off() -> None:
    marks = [f"# fmt: {switch}" for switch in ("skip", "off")]
    files = [*sources(), *(ROOT / "tests").rglob("*.py")]
    assert not [str(path) for path in files if any(mark in path.read_text() for mark in marks)]


def test_compress_holds_rooms_and_few_loose_modules() -> None:
    assert len(list((ROOT / "compress").glob("*.py"))) <= 4
