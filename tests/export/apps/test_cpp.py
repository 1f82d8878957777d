"""The C++ app, compiled and run: golden vectors, the same top-1 as Python, images that must be
refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from odd_models import change, times
from photo_folder import picture, write_photos
from PIL import Image, PngImagePlugin
from tiny_bundles import SPEC, encoded, make_bundle, photo, rejecting_bundle

from benchmarks.app_agreement import build_cpp, cpp_answers, python_answers
from export.apps import write_app
from runtime import Classifier, decode, geometry

HEADERS = "CLIP2EDGE_ORT_HEADERS"


@pytest.fixture(scope="module")
def onnxruntime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like an unpacked release: headers from $CLIP2EDGE_ORT_HEADERS, the library of the
    Python wheel.
    """
    headers = os.environ.get(HEADERS)
    if not headers:
        pytest.skip(f"no onnxruntime headers: set {HEADERS} to a folder with onnxruntime_cxx_api.h")
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: apt install cmake g++ libjpeg-dev libpng-dev")
    found = find_spec("onnxruntime")
    assert found is not None and found.origin is not None
    libraries = sorted((Path(found.origin).parent / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("the onnxruntime wheel holds no shared library of its own")
    root = tmp_path_factory.mktemp("onnxruntime")
    (root / "include").symlink_to(headers)
    (root / "lib").mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (root / "lib" / name).symlink_to(libraries[-1])
    return root


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("bundle")
    return rejecting_bundle(scratch / "bundle", scratch)


@pytest.fixture(scope="module")
def app(bundle: Path, onnxruntime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app of the int8 model, built in its folder ``build``."""
    out = write_app(bundle, "cpp", tmp_path_factory.mktemp("cpp") / "app", precision="int8")
    build_cpp(out, onnxruntime, out / "build")
    return out


def classify(app: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(app / "build" / "classify"), *map(str, arguments)]
    return subprocess.run(command, cwd=app, capture_output=True, text=True, timeout=120)


def test_the_program_gives_the_golden_answers(app: Path) -> None:
    done = classify(app, "--golden", "golden")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 2 and done.stdout.count("bit-identical") == 2


@pytest.mark.parametrize(("file", "said"), [("1.rgb", "pixels differ"), ("1.f32", "differs")])
def test_a_golden_vector_that_differs_is_seen(
    file: str, said: str, app: Path, tmp_path: Path
) -> None:
    golden = shutil.copytree(app / "golden", tmp_path / "golden")
    data = bytearray((golden / file).read_bytes())
    data[3] ^= 0x40 if file.endswith("f32") else 1
    (golden / file).write_bytes(data)
    done = classify(app, "--golden", golden)
    assert done.returncode == 1 and said in done.stdout.splitlines()[1]
    assert done.stdout.splitlines()[0].startswith("ok ")


def test_the_same_top1_as_python(app: Path, bundle: Path, tmp_path: Path) -> None:
    images = write_photos(tmp_path / "photos", 210)
    said, want = (
        cpp_answers(app / "build" / "classify", app / "model.onnx", images),
        python_answers(bundle, images, "int8"),
    )
    assert len(set(want.indices)) > 1
    assert np.mean(np.array(said.indices) == want.indices) >= 0.995
    assert np.abs(np.array(said.probabilities) - want.probabilities).max() < 0.02


def test_it_is_not_sure_where_python_is_not(app: Path, bundle: Path, tmp_path: Path) -> None:
    files = []
    for seed in range(40):
        files.append(tmp_path / f"{seed}.png")
        files[-1].write_bytes(encoded(photo(seed)))
    model = Classifier.load(bundle, "int8", threads=1)
    want = model.predict(files, top_k=1)
    lines = [line.split("\t") for line in classify(app, "--top", "1", *files).stdout.splitlines()]
    assert [len(line) == 4 for line in lines] == [row[0].known for row in want]
    assert 10 < sum(row[0].known is True for row in want) < 30
    for line, (guess,) in zip(lines, want, strict=True):
        label = guess.label if guess.known else f"({guess.label})"
        assert line[1:3] == [str(guess.index), label] and line[4:] in ([], ["not sure"])
        assert float(line[3]) == pytest.approx(guess.probability, abs=1e-4)


def test_prototypes_belong_to_the_model(app: Path, tmp_path: Path) -> None:
    shutil.copyfile(app / "model.onnx", tmp_path / "model.onnx")
    (tmp_path / "a.png").write_bytes(encoded(photo(0)))
    for content in (None, b"", b"x" * 99):
        if content is not None:
            (tmp_path / "prototypes.f32").write_bytes(content)
        done = classify(app, "--model", tmp_path / "model.onnx", tmp_path / "a.png")
        assert done.returncode == 2 and "does not belong to model.hpp" in done.stderr


def test_an_app_of_a_bundle_of_before_has_no_score(tmp_path: Path) -> None:
    app = write_app(make_bundle(tmp_path / "bundle", tmp_path), "cpp", tmp_path / "app")
    header = (app / "model.hpp").read_text(encoding="utf-8")
    assert "kScore = Score::none" in header and "kTemperature = 1.0;" in header
    assert not (app / "prototypes.f32").exists()


def crop_of(app: Path, image: Path, golden: Path) -> str:
    """What --golden says about the pixels of ``image``, if Python's crop of it is the golden
    one.
    """
    golden.mkdir()
    for index in range(2):  # the app checks as many images as its header names
        shutil.copyfile(image, golden / f"{index}.png")  # it looks at the content, not at the name
        (golden / f"{index}.rgb").write_bytes(geometry(decode(image), SPEC).tobytes())
        shutil.copyfile(app / "golden" / f"{index}.f32", golden / f"{index}.f32")
    return classify(app, "--golden", golden).stdout.splitlines()[0]


def transparent(seed: int) -> Image.Image:
    image = picture(seed).convert("RGBA")
    alpha = np.random.default_rng(seed).integers(
        0, 256, (image.height, image.width), dtype=np.uint8
    )
    image.putalpha(Image.fromarray(alpha))
    return image


PICTURES = {
    "transparency": lambda file: transparent(1).save(file, "PNG"),
    "gray and alpha": lambda file: transparent(2).convert("LA").save(file, "PNG"),
    "palette with transparency": lambda file: (
        picture(3).quantize(16).save(file, "PNG", transparency=3)
    ),
    "16-bit gray": lambda file: Image.fromarray(
        np.asarray(picture(4).convert("L")).astype(np.uint16) * 257 + 37
    ).save(file, "PNG"),
    "1 bit": lambda file: picture(5).convert("1").save(file, "PNG"),
    "gray": lambda file: picture(6).convert("L").save(file, "PNG"),
    "gamma chunk": lambda file: picture(7).save(file, "PNG", pnginfo=gamma()),
    **{
        f"orientation {number}": lambda file, number=number: rotated(8, number).save(
            file, "JPEG", quality=95, exif=orientation(number)
        )
        for number in range(1, 9)
    },
    "JPEG of an odd size": lambda file: picture(9).resize((101, 67)).save(file, "JPEG", quality=60),
    "taller than 2:1": lambda file: picture(10).resize((60, 290)).save(file, "PNG"),
}


def gamma() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add(
        b"gAMA", (100000).to_bytes(4, "big")
    )  # linear; a viewer would darken it, Pillow and training do not
    return info


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def rotated(seed: int, number: int) -> Image.Image:
    return picture(seed).resize((90, 60 + number))


@pytest.mark.parametrize("name", PICTURES)
def test_pixels_are_pillows(name: str, app: Path, tmp_path: Path) -> None:
    PICTURES[name](tmp_path / "image")
    assert "pixels bit-identical" in crop_of(app, tmp_path / "image", tmp_path / "golden")


def test_another_orientation_would_be_seen(app: Path, tmp_path: Path) -> None:
    rotated(8, 6).save(tmp_path / "image", "JPEG", exif=orientation(6))
    plain = tmp_path / "plain"
    rotated(8, 6).save(plain, "JPEG")
    line = crop_of(app, tmp_path / "image", tmp_path / "golden")
    (tmp_path / "golden" / "0.png").write_bytes(plain.read_bytes())
    assert "bit-identical" in line
    assert "pixels differ" in classify(app, "--golden", tmp_path / "golden").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.write_bytes(b""), "neither JPEG nor PNG"),
        (lambda file: picture(1).save(file, "BMP"), "neither JPEG nor PNG"),
        (lambda file: picture(1).convert("CMYK").save(file, "JPEG"), "CMYK"),
        (lambda file: Image.new("RGB", (2001, 2)).save(file, "PNG"), "within 1:1000"),
        (lambda file: None, "cannot be opened"),
    ],
)
def test_what_is_refused(make, said: str, app: Path, tmp_path: Path) -> None:
    make(tmp_path / "image")
    picture(1).save(tmp_path / "good.png")
    done = classify(app, "--top", "1", tmp_path / "image", tmp_path / "good.png")
    assert done.returncode == 1 and said in done.stderr
    assert done.stdout.startswith(str(tmp_path / "good.png"))  # one bad image does not end the list


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_truncated_and_damaged_images_end_in_an_error_not_a_crash(
    form: str, app: Path, tmp_path: Path
) -> None:
    picture(1).save(tmp_path / "whole", form)
    data = (tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(0)
    for index in range(60):
        broken = bytearray(data[: int(rng.integers(4, len(data)))] if index % 2 else data)
        for at in rng.integers(4, len(broken), 0 if index % 2 else 20):
            broken[at] = int(rng.integers(0, 256))
        (tmp_path / f"{index:02d}").write_bytes(broken)
    files = sorted(tmp_path.glob("[0-9][0-9]"))
    done = classify(app, "--top", "1", *files)
    assert done.returncode in (0, 1)  # a signal would be negative
    refused = {
        line.partition(": ")[2].partition(": ")[0]
        for line in done.stderr.splitlines()
        if line.startswith("error: ")
    }
    answered = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert refused | answered == {str(file) for file in files} and not refused & answered
    assert {str(file) for file in files[1::2]} <= refused  # every truncated one


@pytest.mark.parametrize(
    "arguments", [[], ["--top"], ["--what", "1", "x.png"], ["--golden", "golden", "x.png"]]
)
def test_wrong_arguments_print_the_usage(arguments: list[str], app: Path) -> None:
    done = classify(app, *arguments)
    assert done.returncode == 2 and done.stderr.startswith("usage: classify")


def test_cmake_says_what_is_missing(bundle: Path, tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("no cmake: apt install cmake g++ libjpeg-dev libpng-dev")
    out = write_app(bundle, "cpp", tmp_path / "app")
    with pytest.raises(RuntimeError, match="onnxruntime not found"):
        build_cpp(out, tmp_path / "nowhere", tmp_path / "build")


def test_logits_that_are_not_finite_are_no_answer(
    bundle: Path, app: Path, onnxruntime: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(bundle, tmp_path / "bundle")
    shutil.copyfile(app / "prototypes.f32", broken / "prototypes.f32")
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    for value in (np.nan, np.inf, -np.inf):
        change(broken, ("model.int8.onnx",), times(value))
        model = ["--model", broken / "model.int8.onnx"]
        done = classify(app, *model, tmp_path / "a.png")
        assert done.returncode == 1 and not done.stdout and "not finite" in done.stderr
        done = classify(app, *model, "--golden", "golden")
        assert done.returncode == 1 and done.stdout.count("differs") == 2
        shutil.copyfile(bundle / "model.int8.onnx", broken / "model.int8.onnx")
