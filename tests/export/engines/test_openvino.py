"""Targets for OpenVINO: int8 with our scales, compared on real images, stable bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from tiny_bundles import make_bundle, photo

from compress.engine.errors import ExportError, MissingExtraError, ParityError
from export.engines import openvino as writer
from export.onnx.graph import QUANTIZERS
from export.targets import parity
from export.targets.write import export_targets
from runtime import BackendError, BundleError, Classifier, golden, open_bundle
from runtime.files.manifest import SCHEMA

pytest.importorskip("openvino", reason="needs pip install 'clip2edge[openvino]'")

INT8 = "model.int8.openvino"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", tmp_path, features=True)


def test_targets_are_verified_on_their_engine_and_run(bundle: Path) -> None:
    assert open_bundle(bundle).manifest["schema"] == 2
    rows = export_targets(bundle, ["openvino.int8", "fp16.openvino", "fp32.batch1.openvino"])
    assert set(rows) == {"int8.openvino", "fp16.openvino", "fp32.batch1.openvino"}
    for key, row in rows.items():
        assert (row["state"], row["file"]) == ("verified", f"model.{key}.xml")
        assert row["parity"]["engine"].startswith("openvino ")
        assert row["parity"]["agreement"] == 1.0
        assert row["parity"]["features_max_abs_diff"] < 0.05
    row = rows["int8.openvino"]
    assert row["kernels"]["Convolution I8"] == 2
    assert "3 of 3 convolutions and products ran on integer kernels" in row["why"]
    opened = open_bundle(bundle)
    assert opened.manifest["schema"] == SCHEMA and f"{INT8}.bin" in opened.manifest["files"]
    steps = {step.name: step.state for step in golden.verify(bundle, threads=1)}
    assert steps["logits int8.openvino"] == "ok" and "differs" not in steps.values()


def test_the_classifier_takes_the_engines_own_file(bundle: Path) -> None:
    export_targets(bundle, ["openvino.int8"])
    auto = Classifier.load(bundle, backend="openvino", threads=1)
    assert auto.precision == "int8.openvino"
    assert Classifier.load(bundle, "fp32", "openvino", threads=1).precision == "fp32"
    images = [photo(seed) for seed in range(4)]
    want = Classifier.load(bundle, "int8", threads=1).logits(images)
    assert np.abs(auto.logits(images) - want).max() < 0.05 * np.ptp(want)
    with pytest.raises(BackendError, match="onnxruntime does not read") as caught:
        Classifier.load(bundle, "int8.openvino")
    assert caught.value.remedy == "backend='openvino'"


def test_the_scales_are_those_of_the_file(bundle: Path) -> None:
    """No second calibration: each step of the IR's quantizers is one of ours."""
    export_targets(bundle, ["openvino.int8"])
    model = onnx.load(bundle / "model.int8.onnx")
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    scales = [node.input[1] for node in model.graph.node if node.op_type in QUANTIZERS]
    ours = {float(tensors[name]) for name in scales if not tensors[name].shape}
    layers = ElementTree.parse(bundle / f"{INT8}.xml").getroot().find("layers")
    assert layers is not None
    weights = (bundle / f"{INT8}.bin").read_bytes()
    by_id = {layer.attrib["id"]: layer for layer in layers}
    edges = ElementTree.parse(bundle / f"{INT8}.xml").getroot().find("edges")
    assert edges is not None
    steps = []
    for layer in layers:
        if layer.attrib["type"] == "FakeQuantize":
            ends = {}
            for edge in edges:
                if edge.attrib["to-layer"] == layer.attrib["id"] and edge.attrib["to-port"] != "0":
                    data = by_id[edge.attrib["from-layer"]].find("data")
                    assert data is not None
                    at = int(data.attrib["offset"])
                    ends[edge.attrib["to-port"]] = np.frombuffer(weights[at : at + 4], np.float32)[
                        0
                    ]
            steps.append(float(ends["2"] - ends["1"]) / 255)
    assert len(steps) >= 3
    assert all(min(abs(step / own - 1) for own in ours) < 1e-4 for step in steps), (steps, ours)


def test_the_same_model_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle / "model.int8.onnx")
    written = [writer.write(model, tmp_path / f"{n}.xml", "int8") for n in "ab"]
    first, second = ([file.read_bytes() for file in files] for files in written)
    assert first == second


def test_both_files_are_covered_by_hashes(bundle: Path) -> None:
    export_targets(bundle, ["openvino.int8"])
    digest = open_bundle(bundle).digest(bundle / f"{INT8}.xml")
    weights = bundle / f"{INT8}.bin"
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{INT8}\.bin has changed"):
        Classifier.load(bundle, backend="openvino")
    weights.unlink()
    with pytest.raises(BundleError, match=rf"{INT8}\.bin is missing"):
        Classifier.load(bundle, backend="openvino")
    assert len(digest) == 64 and Classifier.load(bundle, "fp32", threads=1).precision == "fp32"


def test_a_target_that_computes_something_else_is_refused(bundle: Path, monkeypatch) -> None:
    before = {file.name: file.read_bytes() for file in bundle.glob("*.*")}
    real = writer.write

    def wrong(model, file, base):  # type: ignore[no-untyped-def]
        weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
        values = onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), weight.name))
        return real(model, file, base)

    monkeypatch.setattr(writer, "write", wrong)
    with pytest.raises(ParityError, match="int8.openvino disagrees with int8.*nothing was written"):
        export_targets(bundle, ["openvino.int8"])
    assert {file.name: file.read_bytes() for file in bundle.glob("*.*")} == before


def test_without_the_engine_a_target_has_a_remedy(bundle: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"clip2edge\[openvino\]"):
        export_targets(bundle, ["openvino.int8"])


def test_what_the_engine_refuses_is_recorded_as_unverified(bundle: Path, monkeypatch) -> None:
    def refuses(file: Path) -> None:
        raise BackendError("openvino cannot load it", got="no such operator")

    real = parity.load
    monkeypatch.setattr(parity, "load", lambda f: refuses(f) if f.suffix == ".xml" else real(f))
    (row,) = export_targets(bundle, ["openvino.fp32"]).values()
    assert row["state"] == "unverified" and "no such operator" in row["why"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("openvino", "without a precision.*int8.openvino or fp16.openvino"),
        ("bf16.openvino", "precision of an openvino target.*got bf16"),
        ("int8.trt.openvino", "precision of an openvino target.*int8.trt"),
        ("int8.image.openvino", "modifiers of an openvino target.*image"),
        ("openvino.int9", "unknown export target.*int9"),
    ],
)
def test_names_that_mean_nothing_say_so(bundle: Path, name: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        export_targets(bundle, [name])
