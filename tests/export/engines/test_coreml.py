"""Packages for Core ML: what a Mac unpacks, stable bytes, and what is refused."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from tiny_bundles import LABELS, SIZE, float_model, int8_model, make_bundle, photo

from compress.engine.errors import ExportError, MissingExtraError, ParityError
from export.engines import coreml, coreml_program
from export.targets.write import export_targets
from runtime import BackendError, BundleError, Classifier, golden, open_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", tmp_path, features=True)


def test_an_absent_converter_has_a_remedy(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingExtraError, match="needs coremltools") as caught:
        export_targets(bundle, ["coreml.fp16"])
    assert caught.value.remedy == "pip install 'clip2edge[coreml]'"
    assert not list(bundle.glob("*.zip"))


def needs_coremltools() -> None:
    pytest.importorskip("coremltools", reason="needs pip install 'clip2edge[coreml]'")


def test_a_target_is_evaluated_and_not_called_verified(bundle: Path) -> None:
    needs_coremltools()
    rows = export_targets(bundle, ["coreml.fp16", "int8.coreml", "coreml.fp32.logits"])
    assert set(rows) == {"fp16.coreml", "int8.coreml", "fp32.logits.coreml"}
    for key, row in rows.items():
        assert row["state"] == "unverified" and row["file"] == f"model.{key}.mlpackage.zip"
        assert row["why"].startswith("unverified here: Core ML runs on Apple's systems alone; the")
        assert "program, operator by operator in torch" in row["parity"]["engine"]
        assert row["parity"]["agreement"] == 1.0
        assert row["parity"]["max_abs_diff"] <= row["parity"]["tolerance"]
    steps = golden.verify(bundle, threads=1)
    skipped = {step.name for step in steps if step.state == golden.SKIPPED}
    assert all("coreml" in name for name in skipped), "no vectors of what nobody ran"
    assert {step.state for step in steps} <= {golden.OK, golden.SKIPPED}
    opened = open_bundle(bundle)
    assert (
        opened.manifest["schema"] == 3 and rows["fp16.coreml"]["file"] in opened.manifest["files"]
    )
    with pytest.raises((BackendError, BundleError), match="coreml"):
        Classifier.load(bundle, "fp16.coreml")
    assert Classifier.load(bundle, threads=1).logits([photo()]).shape == (1, len(LABELS))


def test_a_package_states_what_vision_needs(bundle: Path, tmp_path: Path) -> None:
    needs_coremltools()
    import coremltools

    export_targets(bundle, ["coreml.int8"])
    with zipfile.ZipFile(bundle / "model.int8.coreml.mlpackage.zip") as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    root = "model.int8.coreml.mlpackage"
    data = f"{root}/Data/com.apple.CoreML"
    assert names == [f"{root}/Manifest.json", f"{data}/model.mlmodel", f"{data}/weights/weight.bin"]
    spec: Any = coremltools.utils.load_spec(str(tmp_path / root))
    image = spec.description.input[0]
    assert (image.name, image.type.imageType.width) == ("image", SIZE)
    assert [row.name for row in spec.description.output][:2] == ["label", "label_probs"]
    assert {"logits", "features"} <= {row.name for row in spec.description.output}
    about = spec.description.metadata.userDefined
    assert json.loads(about["clip2edge.labels"])[0] == LABELS[0]["name"]
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    kinds = [op.type for op in block.operations]
    assert kinds.count("quantize") >= 3 and kinds.count("constexpr_affine_dequantize") == 3
    assert kinds[-1] == "classify"
    text = str(block)
    assert all(row["name"] in text for row in LABELS)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    needs_coremltools()
    source = float_model(tmp_path / "a.onnx", features=True)
    for base, file in (("fp16", source), ("int8", int8_model(source, tmp_path / "b.onnx"))):
        target = tmp_path / "m.mlpackage.zip"
        made = coreml.write(described(file), target, base)[0].read_bytes()
        coreml.write(described(source), tmp_path / "other.mlpackage.zip", "fp32")
        assert coreml.write(described(file), target, base)[0].read_bytes() == made


def described(file: Path) -> onnx.ModelProto:
    model = onnx.load(str(file))
    known = {entry.key for entry in model.metadata_props}
    content = {
        "clip2edge.labels": json.dumps(LABELS),
        "clip2edge.preprocess": json.dumps(
            {"size": SIZE, "resize": 36, "mean": [0.5] * 3, "std": [0.25] * 3}
            | {"interpolation": "bicubic"}
        ),
    }
    for key, value in content.items():
        if key not in known:
            model.metadata_props.add(key=key, value=value)
    return model


def test_what_it_cannot_convert_is_our_error(tmp_path: Path) -> None:
    needs_coremltools()
    model = described(float_model(tmp_path / "a.onnx"))
    model.graph.node[1].CopyFrom(helper.make_node("Celu", ["c1"], ["r1"]))
    with pytest.raises(ExportError, match=r"cannot be converted.*Celu"):
        coreml.write(model, tmp_path / "m.mlpackage.zip", "fp32")
    plain = described(float_model(tmp_path / "a.onnx"))
    del plain.metadata_props[:]
    with pytest.raises(ExportError, match="needs the labels") as caught:
        coreml.write(plain, tmp_path / "m.mlpackage.zip", "fp32")
    assert "clip2edge.preprocess" in str(caught.value.got)
    assert not list(tmp_path.glob("*.zip"))


def test_an_operator_that_only_core_ml_knows_is_stated(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_coremltools()
    known = {name: run for name, run in coreml_program.OPERATORS.items() if name != "relu"}
    monkeypatch.setattr(coreml_program, "OPERATORS", known)
    row = export_targets(bundle, ["coreml.fp16"])["fp16.coreml"]
    assert (row["state"], row["parity"]) == ("unverified", None)
    assert "cannot be evaluated: relu" in row["why"] and (bundle / row["file"]).exists()


def test_a_package_that_computes_something_else_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_coremltools()
    relu = coreml_program.OPERATORS["relu"]
    wrong = {**coreml_program.OPERATORS, "relu": lambda given: relu(given) * np.float32(1.5)}
    monkeypatch.setattr(coreml_program, "OPERATORS", wrong)
    with pytest.raises(ParityError):
        export_targets(bundle, ["coreml.fp32"])
    assert not list(bundle.glob("*.zip"))
