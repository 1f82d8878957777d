"""Targets for ExecuTorch, through its own converter and its own runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tiny_bundles import float_model, int8_model, make_bundle, photo

from compress.engine.errors import ExportError, MissingExtraError
from export.engines.executorch import write
from export.targets.write import export_targets
from runtime import Classifier, golden


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", tmp_path, features=True)


def test_an_absent_converter_has_a_remedy(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    without = [folder for folder in sys.path if not (Path(folder) / "executorch").is_dir()]
    monkeypatch.setattr(sys, "path", without)
    with pytest.raises(MissingExtraError, match="needs executorch") as caught:
        export_targets(bundle, ["executorch.int8"])
    assert caught.value.remedy == "pip install 'clip2edge[executorch]'"
    assert not list(bundle.glob("*.pte"))


def test_a_converter_installed_in_part_has_a_remedy(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "executorch"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "half" / "executorch").mkdir(parents=True)
    (tmp_path / "half" / "executorch" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "half")
    with pytest.raises(MissingExtraError, match="needs all of executorch") as caught:
        export_targets(bundle, ["executorch.int8"])
    assert "executorch.backends" in str(caught.value)
    assert caught.value.remedy == "pip install 'clip2edge[executorch]'"


def needs_executorch() -> None:
    pytest.importorskip("executorch.exir", reason="needs pip install 'clip2edge[executorch]'")


def test_targets_are_verified_on_their_engine(bundle: Path) -> None:
    needs_executorch()
    rows = export_targets(bundle, ["executorch.int8", "fp32.executorch"])
    for key, row in rows.items():
        assert (row["state"], row["file"]) == ("verified", f"model.{key}.pte")
        assert row["parity"]["agreement"] == 1.0
    assert "3 of 3 convolutions and products ran on integer kernels" in str(rows)
    photos = [photo(seed) for seed in range(4)]
    ours = Classifier.load(bundle, backend="executorch", threads=1)
    assert ours.precision == "int8.executorch"
    want = Classifier.load(bundle, "int8", threads=1).logits(photos)
    assert np.abs(ours.logits(photos) - want).max() < 0.02 * np.ptp(want)
    assert {step.state for step in golden.verify(bundle, threads=1)} == {golden.OK}


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    needs_executorch()
    source = float_model(tmp_path / "a.onnx", features=True)
    for base, file in (("fp32", source), ("int8", int8_model(source, tmp_path / "b.onnx"))):
        made = write(onnx.load(str(file)), tmp_path / f"m.{base}.pte", base)
        again = write(onnx.load(str(file)), tmp_path / f"n.{base}.pte", base)
        assert made[0].read_bytes() == again[0].read_bytes()


def test_what_it_cannot_convert_is_our_error(tmp_path: Path) -> None:
    needs_executorch()
    model = onnx.load(str(float_model(tmp_path / "a.onnx")))
    model.graph.node[1].CopyFrom(helper.make_node("Celu", ["c1"], ["r1"]))
    with pytest.raises(ExportError, match=r"m\.pte cannot be converted.*Celu"):
        write(model, tmp_path / "m.pte", "fp32")
    assert not (tmp_path / "m.pte").exists()
