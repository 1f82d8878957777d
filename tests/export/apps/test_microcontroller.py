"""The microcontroller app: what a compiler makes of it, and that it holds the model's answers.

TensorFlow Lite Micro's C++ is in no package here. Its kernels run through its Python package; the
sources that call it are compiled against declarations of ours, whose interpreter gives the answers
that those kernels gave.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from litert_files import with_litert
from tiny_bundles import LABELS, SIZE, make_bundle

from compress.engine.errors import ExportError, MissingExtraError
from export.apps import microcontroller, write_app
from runtime import normalize, open_bundle
from runtime.backends import micro
from runtime.preprocess import PreprocessSpec

FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ai_edge_litert", reason="needs pip install 'clip2edge[litert]'")
    root = tmp_path_factory.mktemp("micro")
    return with_litert(make_bundle(root / "plain", root, features=True), root)


@pytest.fixture(scope="module")
def app(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tflite_micro", reason="needs pip install 'clip2edge[micro]'")
    return write_app(bundle, "microcontroller", tmp_path_factory.mktemp("app") / "app")


def compiled(tmp_path: Path, *sources: Path | str, include: Path) -> Path:
    if shutil.which("c++") is None:
        pytest.skip("no c++: apt install g++")
    program = tmp_path / "program"
    command = ["c++", *FLAGS, "-I", str(include), "-I", str(tmp_path), "-o", str(program)]
    done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def test_the_readme_counts_memory(bundle: Path, app: Path) -> None:
    said = (app / "README.md").read_text()
    model = bundle / "model.int8.litert.tflite"
    arena = micro.arena_bytes(model.read_bytes())
    assert f"| flash: model | {model.stat().st_size:,} |" in said
    assert f"needed on a 64-bit machine | {arena:,} |" in said and "No board ran it." in said
    reserved = int(re.search(r"kArenaBytes = (\d+);", (app / "classifier.cc").read_text())[1])
    assert arena < reserved < 1.3 * arena + microcontroller.ROUND and reserved % 1024 == 0
    array = re.findall(r"0x([0-9a-f]{2})", (app / "model_data.cc").read_text())
    assert bytes.fromhex("".join(array)) == model.read_bytes()


def test_the_same_bundle_gives_the_same_sources_and_no_place(
    bundle: Path, app: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(bundle, tmp_path / "moved")
    again = write_app(moved, "microcontroller", tmp_path / "again")
    files = [path.relative_to(app) for path in app.rglob("*") if path.is_file()]
    assert files and all((app / name).read_bytes() == (again / name).read_bytes() for name in files)
    assert not [name for name in files if str(bundle).encode() in (app / name).read_bytes()]
    rows = [line for line in (app / "README.md").read_text().splitlines() if line[:3] == "| `"]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(named) >= 6 and all((app / name).exists() for name in named)


PROBE = """
#include <cstdio>
#include <vector>
#include "pixels.h"
int main(int, char** arguments) {
  std::vector<uint8_t> rgb(3 * clip2edge::kSize * clip2edge::kSize);
  std::vector<int8_t> input(rgb.size());
  std::FILE* in = std::fopen(arguments[1], "rb");
  if (std::fread(rgb.data(), 1, rgb.size(), in) != rgb.size()) return 1;
  std::fclose(in);
  clip2edge::Quantize(rgb.data(), input.data());
  std::FILE* out = std::fopen(arguments[2], "wb");
  std::fwrite(input.data(), 1, input.size(), out);
  std::fclose(out);
  const float logits[] = {1.0f, 3.0f, 2.0f, -1.0f};
  const clip2edge::Guess guess = clip2edge::Best(logits);
  std::printf("%d %s %.6f\\n", guess.index, guess.label, guess.probability);
}
"""


def test_pixels_become_the_integers_of_litert(bundle: Path, app: Path, tmp_path: Path) -> None:
    (tmp_path / "probe.cc").write_text(PROBE)
    program = compiled(tmp_path, tmp_path / "probe.cc", app / "pixels.cc", include=app)
    spec: PreprocessSpec = open_bundle(bundle).preprocess
    runner = micro.load(bundle / "model.int8.litert.tflite")
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    (tmp_path / "in").write_bytes(pixels.tobytes())
    done = subprocess.run(
        [program, tmp_path / "in", tmp_path / "out"], capture_output=True, text=True
    )
    found = np.frombuffer((tmp_path / "out").read_bytes(), np.int8).reshape(3, SIZE, SIZE)
    assert np.array_equal(found, runner.steps_of(normalize(pixels[None], spec)[0]))
    index, label, probability = done.stdout.split()
    chances = np.exp([1.0, 3.0, 2.0, -1.0]) / np.exp([1.0, 3.0, 2.0, -1.0]).sum()
    assert (int(index), label) == (1, LABELS[1]["name"])
    assert float(probability) == pytest.approx(chances[1], abs=1e-5)


DECLARATIONS = """
#pragma once
#include <cstdint>
#include <cstdio>
#define TFLITE_SCHEMA_VERSION 3
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };
union TfLitePtrUnion { int8_t* int8; float* f; };
struct TfLiteTensor { TfLiteType type; TfLitePtrUnion data; };
namespace tflite {
struct Model { int64_t version() const { return 3; } };
inline const Model* GetModel(const void*) { static Model model; return &model; }
template <unsigned int N> struct MicroMutableOpResolver {
  unsigned int count = 0;
  TfLiteStatus Add() { return ++count <= N ? kTfLiteOk : kTfLiteError; }
  METHODS
};
class MicroInterpreter {
 public:
  template <typename Resolver>
  MicroInterpreter(const Model*, const Resolver&, uint8_t*, size_t) {}
  TfLiteStatus AllocateTensors() { answers_ = std::fopen("answers", "rb"); return kTfLiteOk; }
  TfLiteTensor* input(size_t) { in_.type = kTfLiteInt8; in_.data.int8 = pixels_; return &in_; }
  TfLiteTensor* output(size_t) { out_.type = kTfLiteInt8; out_.data.int8 = logits_; return &out_; }
  TfLiteStatus Invoke() {
    return std::fread(logits_, 1, CLASSES, answers_) == CLASSES ? kTfLiteOk : kTfLiteError;
  }
 private:
  std::FILE* answers_ = nullptr;
  TfLiteTensor in_, out_;
  int8_t pixels_[3 * 32 * 32];
  int8_t logits_[CLASSES];
};
}  // namespace tflite
"""
HEADERS = ("micro/micro_interpreter", "micro/micro_mutable_op_resolver", "schema/schema_generated")


def test_the_sources_compile_and_check_the_golden_images(
    bundle: Path, app: Path, tmp_path: Path
) -> None:
    methods = "".join(
        f"TfLiteStatus {name}() {{ return Add(); }}\n"
        for name in sorted(microcontroller.METHODS.values())
    )
    text = DECLARATIONS.replace("METHODS", methods).replace("CLASSES", str(len(LABELS)))
    for name in HEADERS:
        header = tmp_path / "tensorflow" / "lite" / f"{name}.h"
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text('#include "declarations.h"\n')
    (tmp_path / "declarations.h").write_text(text)
    sources = [app / f"{name}.cc" for name in ("main", "classifier", "pixels", "model_data")]
    program = compiled(tmp_path, *sources, include=app)
    runner = micro.load(bundle / "model.int8.litert.tflite")
    scale, point = runner.output_steps
    spec, steps = open_bundle(bundle).preprocess, []
    for file in sorted((app / "golden").glob("*.rgb")):
        pixels = np.frombuffer(file.read_bytes(), np.uint8).reshape(1, SIZE, SIZE, 3)
        steps.append(np.rint(runner.run(normalize(pixels, spec))[0] / scale + point))
    (tmp_path / "answers").write_bytes(np.stack(steps).astype(np.int8).tobytes())
    command = [str(program), str(app / "golden")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("ok ") == len(steps), done.stdout
    (tmp_path / "answers").write_bytes((-np.stack(steps)).clip(-128, 127).astype(np.int8).tobytes())
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "differs 0" in done.stdout


def test_a_bundle_without_a_tflite_file_has_a_remedy(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain", tmp_path, features=True)
    with pytest.raises(ExportError, match=r"\.tflite") as caught:
        write_app(plain, "microcontroller", tmp_path / "app")
    assert "compress export BUNDLE --to litert.int8" in str(caught.value.remedy)


def test_what_has_no_kernel_there_is_named(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(microcontroller.METHODS, "CONV_2D")
    with pytest.raises(ExportError, match="no kernel for CONV_2D"):
        write_app(bundle, "microcontroller", tmp_path / "app")


@pytest.mark.parametrize("package", ["tflite_micro", "ai_edge_litert"])
def test_without_a_package_nothing_is_written(
    package: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        write_app(bundle, "microcontroller", tmp_path / "app")
    assert caught.value.remedy == micro.INSTALL and not (tmp_path / "app").exists()
