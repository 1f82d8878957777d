"""Question: what does each engine make of one bundle: the same answers, how fast, how large?

    python -m benchmarks.engines --run petals=work/runs/petals

A matrix of families and engines. Families are bundles of timm students with random weights at 224
(times, sizes and kernels are those of trained ones; answers are compared, accuracy means nothing)
and finished runs, whose test images give the accuracy. Of each, every format is written that an
installed engine reads; what an engine refuses is a row with its reason. Then all engines alternate
in one process, on one thread; load time and peak memory are those of a new process each.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import page
from benchmarks.int8_speed import CLASSES, SIZE, make_files, pictures
from compress.data.artifact import TEST, DataArtifact
from compress.engine.errors import Clip2EdgeError
from export.bundle.write import write_bundle
from export.engines.table import FORMATS
from export.targets.write import export_targets
from runtime import Classifier, PreprocessSpec
from runtime.backends import BACKENDS
from runtime.bench.latency import COMPUTE, LatencyRow
from runtime.bench.report import entry_of
from runtime.bench.run import ALL, bench
from runtime.bench.verdicts import verdicts
from runtime.bundle import Bundle, open_bundle
from runtime.errors import EdgeError
from runtime.host import telemetry

FAMILIES = ("tf_efficientnet_lite0", "mobilenetv4_conv_small", "resnet18", "efficientnet_b0")
SPEC = PreprocessSpec(SIZE, 256, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
REFERENCE = "onnxruntime"
HALVES = ("fp16", "bf16")  # their answers are compared with fp32's
MOST_IMAGES = 64
HEADER = (
    "family | model | engine | p50, ms | stamp | the same label | largest difference | accuracy "
    "| MB | load, ms | peak MiB | int8 products"
)
Row = dict[str, Any]
Pixels = NDArray[np.uint8]


def family(name: str, folder: Path) -> Path:
    """A bundle of a timm student with random weights, fp32 and int8."""
    files = make_files(name, folder)["files"]
    labels = [{"name": f"class {index}"} for index in range(CLASSES)]
    golden = [np.ascontiguousarray(image) for image in noise(2)]
    made = folder / "bundles" / name
    made.parent.mkdir(exist_ok=True)
    write_bundle(made, files, SPEC, labels, {"seed": 0}, golden, f"# {name}\n", "int8")
    return made


def noise(count: int, size: int = SIZE) -> Pixels:
    """Smooth noise, uint8 (count, S, S, 3)."""
    tensor = pictures(count).numpy().transpose(0, 2, 3, 1)[:, :size, :size]
    return np.clip(tensor * 64 + 128, 0, 255).astype(np.uint8)


def written(bundle: Path, converter_env: Path | None = None) -> dict[str, str]:
    """Target -> why it was not written; adds every format that an engine here reads.

    What a bundle has already stays, where its converter's environment is not given.
    """
    refused = {}
    present = open_bundle(bundle, verify=False).targets
    for name, row in FORMATS.items():
        if name not in BACKENDS or find_spec(BACKENDS[name].library) is None:
            continue
        for precision in row.precisions:
            if row.has_environment and converter_env is None and f"{precision}.{name}" in present:
                continue
            try:
                export_targets(bundle, [f"{precision}.{name}"], converter_env=converter_env)
            except (Clip2EdgeError, EdgeError) as error:
                refused[f"{precision}.{name}"] = str(error)
    return refused


def images_of(bundle: Bundle, most: int) -> tuple[Pixels, NDArray[np.int64] | None]:
    """Test images of the run that a bundle lies in, with their labels; else noise."""
    data = DataArtifact(bundle.path.resolve().parent / "data")
    try:
        found = data.images(TEST)
    except (OSError, ValueError):
        return noise(min(most, MOST_IMAGES), bundle.preprocess.size), None
    chosen = np.linspace(0, len(found.labels) - 1, min(most, len(found.labels))).astype(int)
    return np.asarray(found.pixels[chosen]), np.asarray(found.labels)[chosen]


def matrix(
    name: str, path: Path, seconds: float, most: int, converter_env: Path | None = None
) -> list[Row]:
    """The rows of one bundle: each model on each engine, then what was refused."""
    refused = written(path, converter_env)
    bundle = open_bundle(path)
    pixels, labels = images_of(bundle, most)
    report = bench(path, backend=ALL, seconds=seconds, threads=1, command="benchmarks.engines")
    timed = [row for row in report.rows if row.includes == COMPUTE]
    reference: dict[str, NDArray[np.float32]] = {}
    rows = []
    for timing in sorted(timed, key=lambda row: row.backend != REFERENCE):
        key = entry_of(timing)
        base = key.partition(".")[0]
        file = key if key in {**bundle.models, **bundle.targets} else base
        classifier = Classifier.load(path, file, timing.backend, threads=1, verify=False)
        logits = np.concatenate([classifier.logits_u8(image[None]) for image in pixels])
        against = reference.setdefault("fp32" if base in HALVES else base, logits)
        size = sum(part.stat().st_size for part in bundle.parts(bundle.model(file)))
        rows.append(_row(name, timing, logits, against, labels, size))
    rows += [{"family": name, "model": key, "refused": why} for key, why in refused.items()]
    return [*rows, {"family": name, "verdicts": verdicts(report), "states": report.states}]


def _row(
    name: str,
    timing: LatencyRow,
    logits: NDArray[np.float32],
    against: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    size: int,
) -> Row:
    row = BACKENDS[timing.backend]
    integer = sum(n for kind, n in timing.kernels.items() if kind in row.integer_kernels)
    floating = sum(n for kind, n in timing.kernels.items() if kind in row.float_kernels)
    spread = max(float(np.ptp(against)), 1e-9)
    return {
        "family": name,
        "model": entry_of(timing),
        "engine": timing.backend,
        "versions": timing.versions,
        "p50_ms": timing.p50_ms,
        "n": timing.n,
        "stamp": timing.verdict,
        "images": len(logits),
        "agreement": float((logits.argmax(1) == against.argmax(1)).mean()),
        "largest_share": float(np.abs(logits - against).max()) / spread,
        "accuracy": None if labels is None else float((logits.argmax(1) == labels).mean()),
        "bytes": size,
        "load_ms": timing.load_ms,
        "peak_rss_bytes": timing.peak_rss_bytes,
        "integer": integer,
        "products": integer + floating,
    }


def cells(row: Row) -> tuple[object, ...]:
    """A row of the table."""
    if "refused" in row:
        return (row["family"], row["model"], "refused: " + row["refused"], *[""] * 9)

    def number(key: str, scale: float = 1.0, digits: int = 1) -> str:
        return "" if row[key] is None else f"{row[key] / scale:.{digits}f}"

    return (
        row["family"],
        row["model"],
        row["engine"],
        number("p50_ms", digits=3),
        row["stamp"],
        f"{row['agreement']:.1%}",
        f"{row['largest_share']:.2g}",
        "" if row["accuracy"] is None else f"{row['accuracy']:.1%}",
        number("bytes", 1e6, 2),
        number("load_ms", digits=0),
        number("peak_rss_bytes", 2**20, 0),
        f"{row['integer']} of {row['products']}" if row["products"] else "not told",
    )


def markdown(record: Mapping[str, Any]) -> str:
    """The page of a record: the matrix, and the verdicts of each family."""
    rows = [row for row in record["rows"] if "verdicts" not in row]
    said = [
        f"- {row['family']}: {words}" for row in record["rows"] for words in row.get("verdicts", ())
    ]
    missing = sorted({state for row in record["rows"] for state in row.get("states", ())})
    return f"""# One bundle on every engine

`{record["command"]}`

{page.table(HEADER, map(cells, rows))}

{chr(10).join(said)}

One thread, one image a call, all engines interleaved; {record["host"]["cpu"]}. Answers are \
compared with onnxruntime's of the same precision (fp16 with fp32), the largest difference as a \
share of the logits' range. {" ".join(f"{state}." for state in missing)}
"""


def main(arguments: list[str] | None = None) -> int:
    """Builds, writes, times and compares; prints the page, and writes it with ``--out``."""
    parser = page.options("engines", __doc__)
    parser.add_argument("--families", default=",".join(FAMILIES), help="timm names, or none")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each family together")
    parser.add_argument("--images", type=int, default=MOST_IMAGES, help="to compare answers on")
    parser.add_argument("--converter-env", type=Path, help="as of compress export")
    parser.set_defaults(out=None)
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        bundles = dict(pair.partition("=")[::2] for pair in options.run)
        for name in filter(None, options.families.split(",")):
            bundles[name] = str(family(name, Path(scratch)))
        for name, path in bundles.items():
            folder = Path(path)
            inside = folder / "bundle"
            where = inside if inside.is_dir() else folder
            how = (options.seconds, options.images, options.converter_env)
            rows += matrix(name, where, *how)
    given = sys.argv[1:] if arguments is None else arguments
    record = {
        "command": " ".join(["python -m benchmarks.engines", *given]),
        "host": asdict(telemetry.host()),
        "rows": rows,
    }
    if options.out:
        page.write_record(options.out, record, markdown(record))
    else:
        print(markdown(record))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
