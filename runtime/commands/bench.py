"""``python -m runtime bench``: measure a bundle, or merge several devices' bench.json files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from runtime.backends import BACKENDS
from runtime.backends.ort_providers import PROVIDERS
from runtime.bench import file as bench_file
from runtime.bench.affinity import parse_cpus
from runtime.bench.report import BenchReport
from runtime.bench.run import MODES
from runtime.bench.run import bench as run_bench
from runtime.bench.text import lines, merged
from runtime.commands.trial import Stranger, require_bounded
from runtime.errors import BackendError
from runtime.files.atomic import atomic, require_target
from runtime.files.strict_json import to_text
from runtime.host import telemetry


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "load, first, warm and end-to-end latency of every model, beside its teacher"
    parser = commands.add_parser("bench", help=about)
    parser.set_defaults(command=run)

    def option(name: str, about: str, **how: Any) -> None:
        parser.add_argument(name, help=about, **how)

    option("bundle", "bundle folder", type=Path, nargs="?")
    option("--teacher", "bundle folder or .onnx file to interleave and compare with", type=Path)
    option("--models", "models of the bundle (default: every plain precision)", nargs="+")
    option("--backend", f"{', '.join(BACKENDS)}, or all that are here", default="onnxruntime")
    option("--provider", f"where onnxruntime computes: {', '.join(PROVIDERS)} (default: cpu)")
    pairs = {"action": "append", "default": [], "metavar": "KEY=VALUE"}
    option("--provider-option", "may be repeated", **pairs)
    option("--batch", "images per call (default: 1)", type=int, nargs="+", default=[1])
    cores = "compute threads (default: the usable physical cores, then 1)"
    option("--threads", cores, type=int, nargs="+")
    option("--affinity", "processors to stay on, e.g. 0,1 or 4-7")
    option("--seconds", "per series (default: 5, or 600 for each model with mlperf)", type=float)
    option("--mode", f"{' or '.join(MODES)} (default: quick)", default="quick")
    option("--sustained", "then the default model without a pause", type=float, metavar="SECONDS")
    option("--images", "for the end-to-end rows", type=Path, metavar="DIR_OR_FILE")
    option("--out", "write bench.json", type=Path)
    option("--json", "print JSON", action="store_true")
    option("--merge", "print these files as one table", type=Path, nargs="+", metavar="BENCH_JSON")


def run(args: argparse.Namespace) -> int:
    """Measures, or merges files that were measured; any failure is an EdgeError."""
    if args.out:
        require_target(args.out)
    if args.merge:
        contents = [bench_file.read(file) for file in args.merge]
        reports = [bench_file.parse(BenchReport, content) for content in contents]
        as_json = to_text(contents, indent=2)
        if args.out:
            with atomic(args.out) as temporary:
                temporary.write_text(as_json + "\n", encoding="utf-8")
        print(as_json if args.json else "\n".join(merged(reports)))
        return 0
    if args.bundle is None:
        raise BackendError("bench", got="no bundle", expected="BUNDLE, or --merge BENCH_JSON...")
    strangers = [Stranger(args.bundle, tuple(args.models or ()))]
    strangers += [Stranger(args.teacher)] if args.teacher else []
    require_bounded(strangers, args.threads[0] if args.threads else None, args.backend)
    report = run_bench(
        args.bundle,
        args.models,
        seconds=args.seconds,
        batch=args.batch,
        threads=args.threads or _threads(args.mode, args.backend),
        teacher=args.teacher,
        backend=args.backend,
        provider=args.provider,
        provider_options=_options(args.provider_option),
        affinity=parse_cpus(args.affinity) if args.affinity is not None else None,
        mode=args.mode,
        sustained=args.sustained,
        images=args.images,
        note=lambda text: print(f"{text} ...", file=sys.stderr, flush=True),
    )
    content = report.to_json()
    if args.out:
        bench_file.write(args.out, content)
    print(to_text(content, indent=2) if args.json else "\n".join(lines(report)))
    return 0


def _threads(mode: str, backend: str) -> list[int] | None:
    """All cores, then one: the work that every machine can be compared on; mlperf takes hours."""
    cores = telemetry.usable_cores()
    once = mode == "mlperf" or backend not in BACKENDS or BACKENDS[backend].unit != "cpu"
    return None if once else list(dict.fromkeys((cores, 1)))


def _options(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise BackendError("provider option", got=repr(pair), expected="KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
