"""What other people's loaders find in a bundle; the loaders themselves run in test_loaders.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image
from tiny_bundles import LABELS, SIZE, SPEC, float_model, make_bundle, photo

from compress.engine.errors import ExportError
from export.bundle.huggingface import (
    config,
    documents,
    image_processor,
    preprocessor_config,
    rename_input,
)
from runtime import BundleError, Classifier, PreprocessSpec, geometry, normalize, open_bundle
from runtime.bundle import TWIN_INPUT

BYTES = PreprocessSpec(size=32, resize=32, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("built") / "bundle", tmp_path_factory.mktemp("scratch")
    )


def seen_by_transformers(
    folder: Path, spec: PreprocessSpec, image: Image.Image, backend: str
) -> np.ndarray:
    """float32 (1, 3, S, S) from the processor that transformers makes of the files."""
    from transformers import AutoImageProcessor

    for name, document in documents(["a", "b"], spec).items():
        (folder / name).write_text(json.dumps(document))
    processor = AutoImageProcessor.from_pretrained(folder, backend=backend)
    return processor(image, return_tensors="np")["pixel_values"]


def test_the_configuration_names_the_classes(bundle: Path) -> None:
    from transformers import AutoConfig

    read = AutoConfig.from_pretrained(bundle)
    assert [read.id2label[index] for index in range(read.num_labels)] == [
        label["name"] for label in LABELS
    ]
    assert read.label2id == {label["name"]: index for index, label in enumerate(LABELS)}
    assert read.architectures == ["ResNetForImageClassification"]


def test_torch_weights_are_not_promised(bundle: Path) -> None:
    from transformers import AutoModelForImageClassification

    with pytest.raises(
        OSError, match="safetensors|pytorch_model"
    ):  # not a randomly initialized network
        AutoModelForImageClassification.from_pretrained(bundle)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(64, 48), (500, 372), (40, 40), (20, 30)])
def test_transformers_sees_the_same_pixels(
    tmp_path: Path, interpolation: str, size: tuple[int, int]
) -> None:
    """Byte for byte with Pillow; torchvision's fixed point is one byte off here and there."""
    spec = PreprocessSpec(32, 36, interpolation, BYTES.mean, BYTES.std)
    image = Image.fromarray(photo(3, size))
    ours = normalize(geometry(image, spec), spec)
    assert np.array_equal(seen_by_transformers(tmp_path, spec, image, "pil"), ours)
    off = np.abs(seen_by_transformers(tmp_path, spec, image, "torchvision") - ours) * 127.5
    assert off.max() < 1.001 and (off > 0.5).mean() < 0.05


def test_other_means_differ_by_float_rounding_alone(tmp_path: Path) -> None:
    image = Image.fromarray(photo(3, (64, 48)))
    theirs = seen_by_transformers(tmp_path, SPEC, image, "pil")
    assert np.abs(theirs - normalize(geometry(image, SPEC), SPEC)).max() < 1e-6


def test_an_odd_rest_is_halved_otherwise(tmp_path: Path) -> None:
    """Known difference: 3 pixels left over are cut 1 + 2 by transformers and 2 + 1 by torchvision
    and by the runtime.
    """
    image = Image.fromarray(photo(3, (35, 32)))
    cut = np.asarray(image)[:, 1:33]
    assert np.array_equal(
        seen_by_transformers(tmp_path, BYTES, image, "pil"), normalize(cut, BYTES)
    )
    assert not np.array_equal(cut, geometry(image, BYTES))


def test_each_loader_finds_its_resampling() -> None:
    both = preprocessor_config(SPEC)
    assert both["resample"] == 1  # transformers.js: the one that it antialiases
    assert both["image_processor"]["resample"] == Image.Resampling.BICUBIC  # transformers 4.57
    assert documents(["a"], SPEC)["processor_config.json"]["image_processor"] == image_processor(
        SPEC
    )  # 5


def test_labels_of_any_language(tmp_path: Path) -> None:
    written = config(["睡蓮", "a\u2028b", "🌷"], SPEC)
    assert json.loads(json.dumps(written))["id2label"] == {"0": "睡蓮", "1": "a\u2028b", "2": "🌷"}


def test_twins_compute_the_same(bundle: Path) -> None:
    tensor = np.random.default_rng(0).normal(0, 1, (3, 3, SIZE, SIZE)).astype(np.float32)
    opened = open_bundle(bundle)
    assert sorted(opened.twins) == ["fp32", "int8"]
    for precision, twin in opened.twins.items():
        session = onnxruntime.InferenceSession(str(twin), providers=["CPUExecutionProvider"])
        assert [value.name for value in session.get_inputs()] == [TWIN_INPUT]
        (theirs,) = session.run(["logits"], {TWIN_INPUT: tensor})
        assert np.array_equal(
            theirs, Classifier.load(bundle, precision, threads=1).runner.run(tensor)
        )


def test_every_file_passes_the_checker_and_shape_inference(bundle: Path) -> None:
    files = sorted(bundle.rglob("*.onnx"))
    assert len(files) == 4
    for file in files:
        onnx.checker.check_model(str(file), full_check=True)  # with strict shape inference


def test_the_input_is_renamed_in_branches_too(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["y"])],
        "b",
        [],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["logits"], then_branch=branch, else_branch=branch)],
        "g",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("c", 9, []),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
    )
    (tmp_path / "a.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    rename_input(tmp_path / "a.onnx", tmp_path / "b.onnx")
    data = (tmp_path / "b.onnx").read_bytes()
    assert b"images" not in data and data.count(b"pixel_values") == 3
    rename_input(tmp_path / "a.onnx", tmp_path / "c.onnx")
    assert (tmp_path / "c.onnx").read_bytes() == data


def test_names_that_cannot_be_given(tmp_path: Path) -> None:
    source = float_model(tmp_path / "a.onnx")
    with pytest.raises(ExportError, match="no input 'pixels'"):
        rename_input(source, tmp_path / "b.onnx", old="pixels")
    with pytest.raises(ExportError, match="already has a value called 'logits'"):
        rename_input(source, tmp_path / "b.onnx", new="logits")
    (tmp_path / "c.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="not an ONNX model"):
        rename_input(tmp_path / "c.onnx", tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()
