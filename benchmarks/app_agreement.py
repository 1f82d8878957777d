"""One bundle, three apps, the same answers? Python, C++ and a browser on the same images.

    python -m benchmarks.app_agreement BUNDLE IMAGES --onnxruntime FOLDER --ort FOLDER

``--onnxruntime`` is an unpacked release of onnxruntime (include/, lib/), ``--ort`` the npm package
onnxruntime-web; Chromium and CMake come from PATH. The apps are those that ``compress app`` writes,
unchanged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import page
from benchmarks.browser import run_page
from export.apps import write_app
from runtime import Classifier

PAGE = page.PAGES / "golden.html"
SUFFIXES = (".png", ".jpg", ".jpeg")
HEADER = (
    "app | same top-1 as Python | share | largest difference of its probability | identical crops"
)


@dataclass(frozen=True)
class Answers:
    """An app's answers to N images: class indices, top-1 probabilities, hashes of the crops."""

    indices: list[int]
    probabilities: list[float]
    crops: list[str] | None = None  # None where the app does not give them


def python_answers(bundle: Path, images: Sequence[Path], precision: str = "auto") -> Answers:
    """The reference: ``runtime.Classifier`` on onnxruntime."""
    model = Classifier.load(bundle, precision=precision)
    tops = [labels[0] for labels in model.predict(list(images), top_k=1)]
    crops = [hashlib.sha256(model.pixels([image])[0].tobytes()).hexdigest() for image in images]
    return Answers([top.index for top in tops], [top.probability for top in tops], crops)


def build_cpp(app: Path, onnxruntime: Path, build: Path) -> Path:
    """Configures and builds the C++ app; returns the program.

    Raises:
        RuntimeError: CMake or the compiler failed; the message holds the end of their output.
    """
    for command in (
        ["cmake", "-S", str(app), "-B", str(build), f"-DONNXRUNTIME_ROOT={onnxruntime}"],
        ["cmake", "--build", str(build)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
    return build / "classify"


def cpp_answers(program: Path, model: Path, images: Sequence[Path]) -> Answers:
    """The answers of the C++ app.

    Raises:
        RuntimeError: it refused an image.
    """
    command = [str(program), "--model", str(model), "--top", "1", *map(str, images)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program.name}: {done.stderr[-2000:]}")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return Answers([int(row[1]) for row in rows], [float(row[3]) for row in rows])


def web_answers(app: Path, images: Sequence[Path]) -> Answers:
    """The answers of the web app in a headless Chromium; adds a page and a folder to ``app``.

    Raises:
        RuntimeError: the page failed, or a golden step differs in the browser.
    """
    folder = app / "images"
    folder.mkdir()
    names = [f"{index:06d}{image.suffix}" for index, image in enumerate(images)]
    for name, image in zip(names, images, strict=True):
        shutil.copyfile(image, folder / name)
    (folder / "list.json").write_text(json.dumps(names), encoding="utf-8")
    shutil.copyfile(PAGE, app / PAGE.name)
    result = run_page(app, PAGE.name, timeout_s=120 + len(images))
    differs = [step for step in result.get("steps", []) if step["state"] != "ok"]
    if "error" in result or differs:
        raise RuntimeError(result.get("error") or f"golden: {differs[0]}")
    rows = result["answers"]
    return Answers(
        [row["index"] for row in rows], [row["probability"] for row in rows], result["crops"]
    )


def compare(name: str, answers: Answers, reference: Answers) -> str:
    """One row of the table."""
    count = len(reference.indices)
    same = _equal(answers.indices, reference.indices)
    pairs = zip(answers.probabilities, reference.probabilities, strict=True)
    worst = max(abs(a - b) for a, b in pairs)
    crops = "not told"
    if answers.crops is not None and reference.crops is not None:
        crops = f"{_equal(answers.crops, reference.crops):,} of {count:,}"
    return f"| {name} | {same:,} of {count:,} | {same / count:.2%} | {worst:.1g} | {crops} |"


def _equal(first: Sequence[object], second: Sequence[object]) -> int:
    return sum(a == b for a, b in zip(first, second, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = page.options("app_agreement", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="+", help="folders of PNG and JPEG images")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--onnxruntime", type=Path, help="unpacked release of onnxruntime, for C++")
    parser.add_argument("--ort", type=Path, help="npm package onnxruntime-web, for the browser")
    options = parser.parse_args(arguments)
    precision = [f"--precision {options.precision}"] if options.precision != "auto" else []
    given = [options.bundle.name, *(folder.name for folder in options.images), *precision]
    command = f"python -m benchmarks.app_agreement {' '.join(given)}"
    lines = ["# The same answers in every app?", "", f"`{command}`"]
    for folder in options.images:
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        head = f"## {folder.name}: {len(images):,} images"
        lines += ["", head, "", page.table(HEADER, ()), *_rows(options, images)]
    page.write(options.out, "\n".join(lines) + "\n")


def _rows(options: argparse.Namespace, images: list[Path]) -> list[str]:
    """A row per app, those of a missing tool marked as not run."""
    bundle = options.bundle
    precision = options.precision
    reference = python_answers(bundle, images, precision)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        cpp, web, build = (Path(scratch) / name for name in ("cpp", "web", "build"))
        if options.onnxruntime is None:
            rows.append("| C++ | not run: no --onnxruntime | | | |")
        else:
            write_app(bundle, "cpp", cpp, precision)
            program = build_cpp(cpp, options.onnxruntime, build)
            rows.append(compare("C++", cpp_answers(program, cpp / "model.onnx", images), reference))
        if options.ort is None:
            rows.append("| browser (WASM) | not run: no --ort | | | |")
        else:
            write_app(bundle, "web", web, precision, ort=options.ort)
            rows.append(compare("browser (WASM)", web_answers(web, images), reference))
    return rows


if __name__ == "__main__":
    main()
