"""``engine`` on the command line: build a bundle's engines on this machine, or print the commands
of NVIDIA's own tools.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import golden
from runtime.backends.tensorrt import TrtRunner, load
from runtime.bundle import GOLDEN, Bundle, open_bundle
from runtime.errors import BackendError, BundleError
from runtime.files.onnx import graph_inputs
from runtime.golden import TARGETS_GOLDEN
from runtime.tensorrt.api import GENERATIONS
from runtime.tensorrt.settings import EngineSettings, polygraphy, trtexec

PREFERRED = ("int8.trt", "fp16", "fp32")  # the files that are meant for TensorRT
UNVERIFIED, VERIFIED, DIFFERS = "unverified", "verified", "differs"
STATES = {golden.OK: VERIFIED, golden.DIFFERS: DIFFERS, golden.SKIPPED: UNVERIFIED}


@dataclass(frozen=True)
class EngineRow:
    """One engine.

    Attributes:
        state: "verified" (golden logits within tolerance), "differs", or "unverified".
        why: what was compared.
        file: the engine in the cache.
        states: where it came from and what runs in it, one sentence each.
    """

    model: str
    state: str
    why: str
    file: Path
    kernels: dict[str, int]
    states: tuple[str, ...]
    layers: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the whole layer report."""
        return {**vars(self), "file": str(self.file), "states": list(self.states)}


def build_engines(
    path: str | Path,
    models: Sequence[str] = (),
    settings: EngineSettings | None = None,
    cache: Path | None = None,
) -> list[EngineRow]:
    """Builds (or finds) the engine of each of ``models``; default: those of ``PREFERRED`` that the
    bundle has.

    Raises:
        BundleError: a damaged bundle, or no such model.
        BackendError: as ``runtime.backends.tensorrt.load``.
    """
    bundle = open_bundle(path)
    options = (settings or EngineSettings()).to_json()
    rows = []
    for name in chosen(bundle, models):
        runner = load(bundle.model(name), cache=cache, **options)
        state, why = _compare(bundle, name, runner)
        report = runner.layers.to_json()
        rows.append(
            EngineRow(name, state, why, runner.engine_file, runner.kernels, runner.states, report)
        )
        runner.close()
    return rows


def command_lines(
    path: str | Path, models: Sequence[str] = (), settings: EngineSettings | None = None
) -> list[str]:
    """trtexec and polygraphy lines that build and compare the same engines, for both generations.
    Needs no GPU.

    Raises:
        BundleError: a damaged bundle, or no such model.
    """
    bundle = open_bundle(path)
    used, lines = settings or EngineSettings(), []
    for name in chosen(bundle, models):
        model = bundle.model(name)
        inputs = graph_inputs(model)
        for major in sorted(GENERATIONS):
            lines += [
                f"# {name}, TensorRT {major}",
                trtexec(model, inputs, used, major, f"{name}.engine"),
            ]
            lines += [polygraphy(model, inputs, used, major)]
    return lines


def chosen(bundle: Bundle, models: Sequence[str]) -> list[str]:
    """The models to build.

    Raises:
        BundleError: one that the bundle does not have, or none that is meant for TensorRT.
    """
    present = {**bundle.models, **bundle.targets}
    names = list(models) or [name for name in PREFERRED if name in present]
    if not names:
        raise BundleError(
            "no model for TensorRT in the bundle",
            got=", ".join(present),
            expected=", ".join(PREFERRED),
        )
    for name in names:
        bundle.model(name)
    return names


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    parser = commands.add_parser(
        "engine", help="build and cache TensorRT engines of a bundle on this machine"
    )
    parser.add_argument("bundle", type=Path, help="bundle folder")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        help=f"models of the bundle (default: {', '.join(PREFERRED)})",
    )
    parser.add_argument(
        "--opt-batch",
        type=int,
        default=1,
        help="the batch that tactics are chosen for (default: 1)",
    )
    parser.add_argument(
        "--max-batch", type=int, default=8, help="largest batch of one call (default: 8)"
    )
    parser.add_argument(
        "--level", type=int, default=3, help="builder optimization level, 0..5 (default: 3)"
    )
    parser.add_argument("--workspace", type=int, metavar="MIB", help="bound of the scratch memory")
    parser.add_argument("--tf32", action="store_true", help="let float32 layers multiply in TF32")
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder of engines (default: $CLIP2EDGE_CACHE or ~/.cache/clip2edge)",
    )
    parser.add_argument(
        "--print-commands",
        action="store_true",
        help="print trtexec and polygraphy lines; needs no GPU",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every layer")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Builds, or prints; exit code 1 where an engine's logits differ from the golden ones."""
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
    print(
        json.dumps([row.to_json() for row in rows], indent=1)
        if args.json
        else "\n".join(text_of(rows))
    )
    return int(any(row.state == DIFFERS for row in rows))


def text_of(rows: Sequence[EngineRow]) -> Iterator[str]:
    """The rows for a terminal."""
    for row in rows:
        yield f"{row.state:11} {row.model:10} {row.file}"
        yield from (
            f"{'':11} {line}"
            for line in (row.why, *row.states, f"every layer: {row.file.with_suffix('.json')}")
        )


def _compare(bundle: Bundle, name: str, runner: TrtRunner) -> tuple[str, str]:
    """The engine's logits against the golden ones of the same file."""
    listed = [file for file in (TARGETS_GOLDEN, GOLDEN) if file in bundle.manifest["files"]]
    arrays = {
        key: value for file in listed for key, value in golden.read(bundle.path / file).items()
    }
    want = arrays.get(f"logits.{name}")
    if want is None or GOLDEN not in listed:
        return UNVERIFIED, f"the bundle has no golden logits of {name}"
    step = golden.compare(name, golden.logits_of(runner, arrays, bundle.preprocess), want)
    return STATES[step.state], step.detail


def rows_for_export(bundle: Path) -> dict[str, dict[str, Any]]:
    """The rows that ``compress export --to tensorrt`` shows; nothing is written into the bundle.

    Raises:
        BackendError: an engine computes something else than its file.
    """
    rows = build_engines(bundle)
    wrong = [row for row in rows if row.state == DIFFERS]
    if wrong:
        raise BackendError(
            f"the engine of {wrong[0].model} computes something else",
            got=wrong[0].why,
            remedy="use another model of the bundle; say --models fp32 to python -m runtime engine",
        )
    return {
        f"{row.model} engine": {
            "state": row.state,
            "file": str(row.file),
            "why": "; ".join((row.why, *row.states)),
        }
        for row in rows
    }
