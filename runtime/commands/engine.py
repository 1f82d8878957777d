"""``python -m runtime engine``: build a bundle's engines here, or print NVIDIA's own commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from runtime import golden
from runtime.backends import BACKENDS
from runtime.backends.tensorrt import TrtRunner, load
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.errors import BackendError, BundleError
from runtime.files.onnx import graph_inputs
from runtime.files.strict_json import to_text
from runtime.golden import TARGETS_GOLDEN
from runtime.tensorrt.api import GENERATIONS
from runtime.tensorrt.settings import EngineSettings, polygraphy, trtexec

DEFAULT = ", ".join(BACKENDS["tensorrt"].files)
UNVERIFIED = "unverified"
VERIFIED = "verified"
DIFFERS = "differs"
STATES = {golden.OK: VERIFIED, golden.DIFFERS: DIFFERS, golden.SKIPPED: UNVERIFIED}


@dataclass(frozen=True)
class EngineRow:
    """One engine."""

    model: str
    state: str  # "verified" (golden logits within tolerance), "differs" or "unverified"
    why: str  # the comparison
    file: Path  # in the cache
    kernels: dict[str, int]
    states: tuple[str, ...]  # sentences: where it came from, what runs in it
    layers: dict[str, object]

    def to_json(self) -> dict[str, object]:
        """A JSON object with the whole layer report."""
        return {**vars(self), "file": str(self.file), "states": list(self.states)}


def build_engines(
    path: str | Path,
    models: Sequence[str] = (),
    settings: EngineSettings | None = None,
    cache: Path | None = None,
) -> list[EngineRow]:
    """Builds (or finds) the engine of each of ``models``; default: the backend's files.

    Raises: BundleError: a damaged bundle, no such model; BackendError: as the backend's ``load``.
    """
    bundle = open_bundle(path)
    options = (settings or EngineSettings()).to_json()
    rows = []
    for name in models_to_build(bundle, models):
        runner = load(bundle.model(name), cache=cache, **options)
        state, why = _compare(bundle, name, runner)
        facts = (runner.engine_file, runner.kernels, runner.states, runner.layers.to_json())
        rows.append(EngineRow(name, state, why, *facts))
        runner.close()
    return rows


def command_lines(
    path: str | Path, models: Sequence[str] = (), settings: EngineSettings | None = None
) -> list[str]:
    """trtexec and polygraphy lines for the same engines, for TensorRT 10 and 11. Needs no GPU.

    Raises: BundleError: a damaged bundle, or no such model.
    """
    bundle = open_bundle(path)
    settings = settings or EngineSettings()
    lines: list[str] = []
    for name in models_to_build(bundle, models):
        model = bundle.model(name)
        inputs = graph_inputs(model)
        for major in sorted(GENERATIONS):
            command = trtexec(model, inputs, settings, major, f"{name}.engine")
            other = polygraphy(model, inputs, settings, major)
            lines += [f"# {name}, TensorRT {major}", command, other]
    return lines


def models_to_build(bundle: Bundle, models: Sequence[str]) -> list[str]:
    """``models``, by default the backend's files that the bundle has.

    Raises: BundleError: one that the bundle does not have, or none for TensorRT.
    """
    present = {**bundle.models, **bundle.target_files}
    names = list(models) or [name for name in BACKENDS["tensorrt"].files if name in present]
    if not names:
        got = ", ".join(present)
        raise BundleError("no model for TensorRT in the bundle", got=got, expected=DEFAULT)
    for name in names:
        bundle.model(name)
    return names


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "build and cache TensorRT engines of a bundle on this machine"
    parser = commands.add_parser("engine", help=about)
    parser.set_defaults(command=run)

    def option(name: str, about: str, **how: Any) -> None:
        parser.add_argument(name, help=about, **how)

    option("bundle", "bundle folder", type=Path)
    option("--models", f"models of the bundle (default: {DEFAULT})", nargs="+", default=[])
    option("--opt-batch", "the batch that tactics are chosen for (default: 1)", type=int, default=1)
    option("--max-batch", "largest batch of one call (default: 8)", type=int, default=8)
    option("--level", "builder optimization level, 0..5 (default: 3)", type=int, default=3)
    option("--workspace", "bound of the scratch memory", type=int, metavar="MIB")
    option("--tf32", "let float32 layers multiply in TF32", action="store_true")
    option(
        "--cache", "folder of engines (default: $CLIP2EDGE_CACHE or ~/.cache/clip2edge)", type=Path
    )
    lines = "print trtexec and polygraphy lines; needs no GPU"
    option("--print-commands", lines, action="store_true")
    option("--json", "print JSON, with every layer", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Builds, or prints; exit code 1 if an engine's logits differ from the golden ones."""
    settings = EngineSettings(
        opt_batch=args.opt_batch,
        max_batch=args.max_batch,
        optimization_level=args.level,
        workspace_mib=args.workspace,
        tf32=args.tf32,
    )
    if args.print_commands:
        print("\n".join(command_lines(args.bundle, args.models, settings)))
        return 0
    rows = build_engines(args.bundle, args.models, settings, args.cache)
    as_json = [row.to_json() for row in rows]
    print(to_text(as_json, indent=1) if args.json else "\n".join(text_of(rows)))
    return int(any(row.state == DIFFERS for row in rows))


def text_of(rows: Sequence[EngineRow]) -> Iterator[str]:
    """The rows for a terminal."""
    for row in rows:
        layers = f"every layer: {row.file.with_suffix('.json')}"
        yield f"{row.state:11} {row.model:10} {row.file}"
        yield from (f"{'':11} {line}" for line in (row.why, *row.states, layers))


def _compare(bundle: Bundle, name: str, runner: TrtRunner) -> tuple[str, str]:
    """State and reason: the engine's logits against the golden ones of the same file."""
    listed = [file for file in (TARGETS_GOLDEN, GOLDEN) if file in bundle.manifest["files"]]
    tables = [golden.read(bundle.path / file).items() for file in listed]
    arrays = dict(chain.from_iterable(tables))
    want = arrays.get(f"logits.{name}")
    if want is None or GOLDEN not in listed:
        return UNVERIFIED, f"the bundle has no golden logits of {name}"
    step = golden.compare(name, golden.logits_of(runner, arrays, bundle.preprocess), want)
    return STATES[step.state], step.detail


def rows_for_export(bundle: Path) -> dict[str, dict[str, str]]:
    """The rows that ``compress export --to tensorrt`` shows; writes nothing into the bundle.

    Raises: BackendError: an engine computes something else than its file.
    """
    shown = {}
    for row in build_engines(bundle):
        if row.state == DIFFERS:
            what = f"the engine of {row.model} computes something else"
            remedy = "use another model of the bundle: python -m runtime engine --models fp32"
            raise BackendError(what, got=row.why, remedy=remedy)
        why = "; ".join((row.why, *row.states))
        shown[f"{row.model} engine"] = {"state": row.state, "file": str(row.file), "why": why}
    return shown
