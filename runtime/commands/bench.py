"""``python -m runtime bench``: measure a bundle, or merge several devices' bench.json files."""

from __future__ import annotations

import argparse
import json
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
from runtime.errors import BackendError


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's commands."""
    about = "load, first, warm and end-to-end latency of every model, beside its teacher"
    parser = commands.add_parser("bench", help=about)
    option = parser.add_argument
    option("bundle", type=Path, nargs="?", help="bundle folder")
    teacher = "bundle folder or .onnx file to interleave and compare with"
    option("--teacher", type=Path, help=teacher)
    models = "models of the bundle (default: every plain precision)"
    option("--models", nargs="+", help=models)
    option("--backend", default="onnxruntime", help=", ".join(BACKENDS))
    provider = f"where onnxruntime computes: {', '.join(PROVIDERS)} (default: cpu)"
    option("--provider", help=provider)
    again = "may be repeated"
    option("--provider-option", action="append", default=[], metavar="KEY=VALUE", help=again)
    option("--batch", type=int, nargs="+", default=[1], help="images per call (default: 1)")
    threads = "compute threads (default: the usable physical cores)"
    option("--threads", type=int, nargs="+", help=threads)
    option("--affinity", help="processors to stay on, e.g. 0,1 or 4-7")
    seconds = "per series (default: 5, or 600 for each model with mlperf)"
    option("--seconds", type=float, help=seconds)
    option("--mode", default="quick", help=f"{' or '.join(MODES)} (default: quick)")
    sustained = "then the default model without a pause"
    option("--sustained", type=float, metavar="SECONDS", help=sustained)
    option("--images", type=Path, metavar="DIR_OR_FILE", help="for the end-to-end rows")
    option("--out", type=Path, help="write bench.json")
    option("--json", action="store_true", help="print JSON")
    merge = "print these files as one table"
    option("--merge", type=Path, nargs="+", metavar="BENCH_JSON", help=merge)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Measures, or merges.

    Raises:
        EdgeError: as ``runtime.bench.run.bench`` and ``runtime.bench.file.read``.
    """
    if args.merge:
        contents = [bench_file.read(file) for file in args.merge]
        reports = [bench_file.parse(BenchReport, content) for content in contents]
        print(json.dumps(contents, indent=2) if args.json else "\n".join(merged(reports)))
        return 0
    if args.bundle is None:
        raise BackendError("bench", got="no bundle", expected="BUNDLE, or --merge BENCH_JSON...")
    report = run_bench(
        args.bundle,
        args.models,
        seconds=args.seconds,
        batch=args.batch,
        threads=args.threads,
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
    print(json.dumps(content, indent=2) if args.json else "\n".join(lines(report)))
    return 0


def _options(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise BackendError("provider option", got=repr(pair), expected="KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
