"""Hugging Face optimum and transformers.js read a bundle unchanged and give the runtime's labels.

Both run as somebody else's program would run them (``tests/loaders``), in environments of their
own: CLIP2EDGE_OPTIMUM_PYTHON names a Python that has optimum-onnx, CLIP2EDGE_NODE_MODULES a folder
    with @huggingface/transformers.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from paths import ROOT
from PIL import Image
from provenance import provenance
from tiny_bundles import LABELS, SIZE, float_model, int8_model, photo

from export.bundle.card import model_card
from export.bundle.write import write_bundle
from runtime import Classifier, PreprocessSpec, geometry, golden, normalize
from runtime.backends import load as load_model

pytestmark = pytest.mark.slow

PROGRAMS = ROOT / "tests" / "loaders"
OPTIMUM_PYTHON, NODE_MODULES = (
    os.environ.get("CLIP2EDGE_OPTIMUM_PYTHON"),
    os.environ.get("CLIP2EDGE_NODE_MODULES"),
)
needs_optimum = pytest.mark.skipif(
    not OPTIMUM_PYTHON, reason="CLIP2EDGE_OPTIMUM_PYTHON names no Python with optimum-onnx"
)
needs_node = pytest.mark.skipif(
    not NODE_MODULES or not shutil.which("node"),
    reason="no node, or CLIP2EDGE_NODE_MODULES names no folder with @huggingface/transformers",
)
SPEC = PreprocessSpec(SIZE, SIZE + 4, "bicubic", (0.48, 0.45, 0.4), (0.27, 0.26, 0.28))
FILES = {
    "fp32": ("default", "default"),
    "int8": ("model_quantized.onnx", "q8"),
}  # what optimum and transformers.js ask for


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder, scratch = (
        tmp_path_factory.mktemp("built") / "bundle",
        tmp_path_factory.mktemp("scratch"),
    )
    fp32 = centered(float_model(scratch / "a.onnx", features=True))
    models = {"fp32": fp32, "int8": int8_model(fp32, scratch / "b.onnx")}
    write_bundle(
        folder,
        models,
        SPEC,
        LABELS,
        {},
        [photo(seed, (52, 36)) for seed in range(4)],
        "# tiny\n",
        "int8",
    )
    return folder


def centered(model: Path) -> Path:
    """``model`` with a bias that makes every class about as likely: else random weights give one
    label to all images.
    """
    pixels = np.stack(
        [geometry(Image.fromarray(photo(seed, (640, 480))), SPEC) for seed in range(24)]
    )
    mean = load_model("onnxruntime", model, threads=1).run(normalize(pixels, SPEC)).mean(0)
    loaded = onnx.load(model)
    (bias,) = [tensor for tensor in loaded.graph.initializer if tensor.name == "b3"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - mean, "b3"))
    onnx.save(loaded, model)
    return model


@pytest.fixture(scope="module")
def golden_images(bundle: Path, tmp_path_factory) -> list[str]:
    arrays = golden.read(bundle / "golden.npz")
    return _saved(
        tmp_path_factory.mktemp("golden"), [arrays[f"img_{index}"].tobytes() for index in range(4)]
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[str]:
    """24 images of 640 x 480 with fine detail: one that is resized without antialiasing looks quite
    different.
    """
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    paths = []
    for seed in range(24):
        coarse = photo(seed, (640, 480)).astype(np.float32)
        grain = rng.normal(0, 40, (480, 640, 3))
        paths.append(str(folder / f"{seed}.png"))
        Image.fromarray(np.clip(coarse + grain, 0, 255).astype(np.uint8)).save(paths[-1])
    return paths


@needs_optimum
@pytest.mark.parametrize("precision", FILES)
def test_optimum_gives_the_same_logits(
    bundle: Path, golden_images: list[str], photos: list[str], precision: str
) -> None:
    images = [*golden_images, *photos]
    told = _run(
        [
            str(OPTIMUM_PYTHON),
            str(PROGRAMS / "optimum_labels.py"),
            str(bundle),
            FILES[precision][0],
            *images,
        ]
    )
    assert told["file"] == {"fp32": "model.onnx", "int8": "model_quantized.onnx"}[precision]
    ours = Classifier.load(bundle, precision, threads=1)
    logits = ours.logits(images)
    theirs = np.array([told["images"][image]["logits"] for image in images])
    assert len(set(logits.argmax(1))) > 2
    assert [told["images"][image]["label"] for image in images] == [
        ours.labels[i] for i in logits.argmax(1)
    ]
    if precision == "fp32":  # an int8 value at a rounding edge may fall to the other side
        assert np.abs(theirs - logits).max() < 1e-4 * np.ptp(logits)


@needs_node
@pytest.mark.parametrize("precision", FILES)
def test_transformers_js_gives_the_same_labels(
    bundle: Path, golden_images: list[str], photos: list[str], precision: str
) -> None:
    images = [*golden_images, *photos]
    told = _transformers_js(bundle, FILES[precision][1], images)
    ours = Classifier.load(bundle, precision, threads=1)
    guesses = {image: ours.predict(image, top_k=1)[0] for image in images}
    assert len({guess.label for guess in guesses.values()}) > 2
    assert all(told[image]["label"] == guesses[image].label for image in golden_images)
    agree = np.mean([told[image]["label"] == guesses[image].label for image in images])
    assert (
        agree >= 0.9
    )  # Lanczos and bicubic differ a little, most where an image is enlarged; weights are random


@needs_node
def test_transformers_js_sees_photos_antialiased(bundle: Path, photos: list[str]) -> None:
    """With its own bicubic (sharp's affine) the mean difference is 25 of 255: single pixels of the
    grain.
    """
    told = _transformers_js(bundle, "fp32", photos[:4])
    ours = Classifier.load(bundle, "fp32", threads=1)
    for image in photos[:4]:
        theirs = np.frombuffer(base64.b64decode(told[image]["pixels"]), "<f4").reshape(
            3, SIZE, SIZE
        )
        std = np.array(SPEC.std)[:, None, None]
        mean = np.array(SPEC.mean)[:, None, None]
        pixels = (theirs * std + mean) * 255
        assert np.abs(pixels - ours.pixels([image])[0].transpose(2, 0, 1)).mean() < 2


@needs_node
def test_transformers_js_sees_images_of_the_right_size_bit_for_bit(
    bundle: Path, tmp_path: Path
) -> None:
    (image,) = _saved(tmp_path, [photo(9, (SPEC.resize, SPEC.resize))])
    (told,) = _transformers_js(bundle, "fp32", [image]).values()
    ours = Classifier.load(bundle, "fp32", threads=1)
    theirs = np.frombuffer(base64.b64decode(told["pixels"]), "<f4").reshape(1, 3, SIZE, SIZE)
    assert np.abs(theirs - ours.feed(ours.pixels([image]))).max() < 1e-6


@needs_optimum
def test_the_python_of_the_model_card_runs(bundle: Path, golden_images: list[str]) -> None:
    program = _shown("python", "optimum", bundle, golden_images[0])
    guesses = ast.literal_eval(_output([str(OPTIMUM_PYTHON), "-c", program]))
    assert (
        guesses[0]["label"]
        == Classifier.load(bundle, "fp32", threads=1).predict(golden_images[0])[0].label
    )


@needs_node
def test_the_javascript_of_the_model_card_runs(
    bundle: Path, golden_images: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "card.mjs"
    program.write_text(_shown("js", "transformers", bundle, golden_images[0]))
    (tmp_path / "node_modules").symlink_to(Path(str(NODE_MODULES)).resolve())
    told = _output(["node", str(program)])
    assert (
        f"label: '{Classifier.load(bundle, 'fp32', threads=1).predict(golden_images[0])[0].label}'"
        in told.split("}")[0]
    )


def _shown(language: str, word: str, bundle: Path, image: str) -> str:
    """The code block of the card in ``language`` that holds ``word``, with its paths filled in."""
    blocks = re.findall(
        rf"```{language}\n(.*?)```", model_card(provenance(), ["a", "b"], []), re.DOTALL
    )
    (block,) = [block for block in blocks if word in block]
    return re.sub(r"/?path/to/this/folder", str(bundle), block).replace("photo.jpg", image)


def _saved(folder: Path, images: list[Any]) -> list[str]:
    paths = [folder / f"{index}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            Image.fromarray(image).save(path)
    return [str(path) for path in paths]


def _transformers_js(bundle: Path, dtype: str, images: list[str]) -> dict[str, Any]:
    command = [
        "node",
        str(PROGRAMS / "transformers_labels.mjs"),
        str(NODE_MODULES),
        str(bundle),
        dtype,
        *images,
    ]
    return dict(_run(command)["images"])


def _run(command: list[str]) -> dict[str, Any]:
    return dict(json.loads(_output(command)))


def _output(command: list[str]) -> str:
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
