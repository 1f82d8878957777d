"""Targets for ncnn: compared on real images, stable bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_bundles import make_bundle, photo

from compress.engine.errors import ExportError, MissingExtraError
from export.engines import ncnn as writer
from export.onnx.convert import save
from export.targets.write import export_targets
from runtime import Classifier, golden
from runtime.backends import load
from runtime.bench.entries import entries
from runtime.bundle import open_bundle

for needed in ("ncnn", "pnnx"):
    if writer.find_spec(needed) is None:
        pytest.skip("needs pip install 'clip2edge[ncnn,pnnx]'", allow_module_level=True)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", tmp_path)


def with_features(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with unit rows, spelled out as our networks spell them."""
    make = onnx.helper.make_node
    model.graph.node.extend(
        [
            make("ReduceL2", ["f", "axes"], ["length"], "length", keepdims=1),
            make("Clip", ["length", "least"], ["clipped"], "clipped"),
            make("Div", ["f", "clipped"], ["features"], "unit"),
        ]
    )
    for name, value in (("axes", np.array([1])), ("least", np.array(1e-12, np.float32))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    row = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["batch", 32])
    model.graph.output.append(row)
    model.opset_import[0].version = 18
    return model


def test_targets_are_verified_on_their_engine_and_run(bundle: Path) -> None:
    rows = export_targets(bundle, ["ncnn.fp16", "fp32.ncnn"])
    for key, row in rows.items():
        assert (row["state"], row["file"]) == ("verified", f"model.{key}.param")
        assert row["parity"]["engine"].startswith("ncnn ") and "one image a call" in row["why"]
    half, whole = ((bundle / f"model.{key}.ncnn.bin").stat().st_size for key in ("fp16", "fp32"))
    assert half < 0.6 * whole
    images = [photo(seed) for seed in range(5)]
    want = Classifier.load(bundle, "fp32", threads=1)
    auto = Classifier.load(bundle, backend="ncnn", threads=1)
    assert auto.precision == "fp16.ncnn"
    assert np.abs(auto.logits(images) - want.logits(images)).max() < 0.01 * np.ptp(
        want.logits(images)
    )
    assert {step.state for step in golden.verify(bundle, threads=1)} == {golden.OK}
    listed = entries(open_bundle(bundle), None, None, ["onnxruntime", "ncnn"])
    assert [entry.key for entry in listed] == ["fp32", "int8", "fp32.ncnn", "fp16.ncnn"]


def test_features_are_an_output_too(bundle: Path, tmp_path: Path) -> None:
    model = with_features(onnx.load(bundle / "model.fp32.onnx"))
    source = save(model, tmp_path / "a.onnx")
    file, _ = writer.write(model, tmp_path / "a.param", "fp32")
    ours, theirs = load("ncnn", file, threads=1), load("onnxruntime", source, threads=1)
    images = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    names = ("logits", "features")
    got, want = ours.run_all(images, names), theirs.run_all(images, names)
    assert all(np.abs(got[name] - want[name]).max() < 1e-4 for name in names)


def test_the_same_model_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle / "model.fp32.onnx")
    written = [writer.write(model, tmp_path / f"{n}.param", "fp16") for n in "ab"]
    first, second = ([file.read_bytes() for file in files] for files in written)
    assert first == second


def test_an_operator_that_it_lacks_is_refused_with_its_name(tmp_path: Path) -> None:
    model = onnx.load(make_bundle(tmp_path / "other", tmp_path, features=True) / "model.fp32.onnx")
    with pytest.raises(ExportError, match=r"a\.param.*LpNormalization"):
        writer.write(model, tmp_path / "a.param", "fp32")
    assert not (tmp_path / "a.param").exists()


def test_without_the_converter_a_target_has_a_remedy(bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"clip2edge\[pnnx\]"):
        export_targets(bundle, ["ncnn.fp16"])
