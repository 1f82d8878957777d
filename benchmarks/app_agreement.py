"""One bundle, three apps, the same answers? Python, C++ and a browser on the same images.

    python -m benchmarks.app_agreement BUNDLE IMAGES --onnxruntime FOLDER --ort FOLDER

``--onnxruntime`` is an unpacked release of onnxruntime (include/, lib/), ``--ort`` the npm package
onnxruntime-web; Chromium and CMake are looked for on PATH. The apps are made by ``compress app``
and used as they are.
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

from benchmarks.browser import run_page
from export.apps import write_app
from runtime import Classifier

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "pages" / "golden.html"
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Answers:
    """What an app said about N images: class indices, top-1 probabilities, and hashes of the crops
    where it tells them.
    """

    indices: list[int]
    probabilities: list[float]
    crops: list[str] | None = None


def python_answers(bundle: Path, images: Sequence[Path], precision: str = "auto") -> Answers:
    """The reference: ``runtime.Classifier`` on onnxruntime."""
    model = Classifier.load(bundle, precision=precision)
    guesses = [rows[0] for rows in model.predict(list(images), top_k=1)]
    crops = [hashlib.sha256(model.pixels([image])[0].tobytes()).hexdigest() for image in images]
    return Answers(
        [guess.index for guess in guesses], [guess.probability for guess in guesses], crops
    )


def build_cpp(app: Path, onnxruntime: Path, build: Path) -> Path:
    """Configures and builds the C++ app; returns the program.

    Raises:
        RuntimeError: CMake or the compiler failed; the message holds the end of what they said.
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
    """What the C++ app says.

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
    """What the web app says in a headless Chromium; ``app`` gets the page and a folder ``images``.

    Raises:
        RuntimeError: the page failed, or a golden step differs in the browser.
    """
    folder = app / "images"
    folder.mkdir()
    names = [f"{index:06d}{image.suffix}" for index, image in enumerate(images)]
    for name, image in zip(names, images, strict=True):
        shutil.copyfile(image, folder / name)
    (folder / "list.json").write_text(json.dumps(names))
    shutil.copyfile(PAGE, app / PAGE.name)
    said = run_page(app, PAGE.name, timeout_s=120 + len(images))
    differs = [step for step in said.get("steps", []) if step["state"] != "ok"]
    if "error" in said or differs:
        raise RuntimeError(said.get("error") or f"golden: {differs[0]}")
    rows = said["answers"]
    return Answers(
        [row["index"] for row in rows], [row["probability"] for row in rows], said["crops"]
    )


def compare(name: str, said: Answers, want: Answers) -> str:
    """One row of the table."""
    count = len(want.indices)
    same = sum(a == b for a, b in zip(said.indices, want.indices, strict=True))
    worst = max(abs(a - b) for a, b in zip(said.probabilities, want.probabilities, strict=True))
    crops = "not told"
    if said.crops is not None and want.crops is not None:
        equal = sum(a == b for a, b in zip(said.crops, want.crops, strict=True))
        crops = f"{equal:,} of {count:,}"
    return f"| {name} | {same:,} of {count:,} | {same / count:.2%} | {worst:.1g} | {crops} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.app_agreement", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="+", help="folders of PNG and JPEG images")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--onnxruntime", type=Path, help="unpacked release of onnxruntime, for C++")
    parser.add_argument("--ort", type=Path, help="npm package onnxruntime-web, for the browser")
    parser.add_argument("--out", type=Path, default=RESULTS / "app_agreement.md")
    options = parser.parse_args(arguments)
    lines = []
    for folder in options.images:
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        lines += [f"## {folder.name}: {len(images):,} images", "", *_rows(options, images), ""]
    told = [f"--precision {options.precision}"] if options.precision != "auto" else []
    command = " ".join([options.bundle.name, *(folder.name for folder in options.images), *told])
    text = "\n".join(
        [
            "# The same answers in every app?",
            "",
            f"`python -m benchmarks.app_agreement {command}`",
            "",
            *lines,
        ]
    )
    options.out.write_text(text.rstrip() + "\n")
    print(text)


def _rows(options: argparse.Namespace, images: list[Path]) -> list[str]:
    want = python_answers(options.bundle, images, options.precision)
    rows = [
        "| app | same top-1 as Python | share | largest difference of its probability | "
        "identical crops |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        cpp, web, build = Path(scratch) / "cpp", Path(scratch) / "web", Path(scratch) / "build"
        if options.onnxruntime is None:
            rows.append("| C++ | not run: no --onnxruntime | | | |")
        else:
            write_app(options.bundle, "cpp", cpp, options.precision)
            program = build_cpp(cpp, options.onnxruntime, build)
            rows.append(compare("C++", cpp_answers(program, cpp / "model.onnx", images), want))
        if options.ort is None:
            rows.append("| browser (WASM) | not run: no --ort | | | |")
        else:
            write_app(options.bundle, "web", web, options.precision, ort=options.ort)
            rows.append(compare("browser (WASM)", web_answers(web, images), want))
    return rows


if __name__ == "__main__":
    main()
