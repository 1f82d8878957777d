"""ONNX files read without the onnx package; what reaches outside a file is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tiny_bundles import SIZE, float_model

from runtime import BundleError
from runtime.files.onnx import check, graph_inputs, inspect


def test_facts_of_a_model_without_the_onnx_package(tmp_path: Path) -> None:
    facts = inspect(float_model(tmp_path / "m.onnx"))
    assert facts.opsets == {"": 17}
    assert facts.ops == {"Conv": 2, "Relu": 2, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


def test_external_weights_are_refused(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx"))
    path = tmp_path / "e.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="e.data", size_threshold=0)
    with pytest.raises(BundleError, match="weights in another file"):
        check(path)


def test_external_weights_inside_a_branch_are_seen(tmp_path: Path) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([helper.make_node("Constant", [], ["x"], value=tensor)], "b", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert inspect(tmp_path / "m.onnx").external_tensors == 2


@pytest.mark.parametrize(("op", "domain"), [("EPContext", "com.microsoft"), ("Evil", "my.ops")])
def test_operators_that_load_code_are_refused(tmp_path: Path, op: str, domain: str) -> None:
    model = helper.make_model(
        helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "g", [], [])
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=op if op == "EPContext" else domain):
        check(tmp_path / "m.onnx")


def test_damaged_models_are_errors_never_crashes(tmp_path: Path) -> None:
    data = float_model(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "d.onnx"
    for bad in (b"", b"\x00", b"not a model at all", data[:40], b"\xff" * 64, b"\x3a\x05abcde"):
        path.write_bytes(bad)
        with pytest.raises(BundleError, match="d.onnx"):
            check(path)
    with pytest.raises(BundleError, match="gone.onnx"):
        check(tmp_path / "gone.onnx")


def test_flipped_bytes_are_errors_or_harmless_never_crashes(tmp_path: Path) -> None:
    data = float_model(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "d.onnx"
    for at in range(0, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(BundleError):
            check(path)


def test_inputs_of_a_graph_are_read_without_the_onnx_package(tmp_path: Path) -> None:
    assert graph_inputs(float_model(tmp_path / "a.onnx")) == {"images": ("batch", 3, SIZE, SIZE)}
    model = onnx.load(tmp_path / "a.onnx")
    model.graph.input.append(
        helper.make_tensor_value_info("w1", TensorProto.FLOAT, [16, 3, 3, 3])
    )  # as up to IR 3
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    onnx.save(model, tmp_path / "b.onnx")
    assert graph_inputs(tmp_path / "b.onnx") == {"images": ("?", 3, SIZE, SIZE)}
    (tmp_path / "c.onnx").write_bytes((tmp_path / "a.onnx").read_bytes()[:-40])
    with pytest.raises(BundleError, match="is not an ONNX model"):
        graph_inputs(tmp_path / "c.onnx")
