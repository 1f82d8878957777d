"""The baseline's tools: a failure is one error, and nothing is printed or logged beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.onnx.ptq import quantize_static

#: no file may grow beyond this, as on a disk that is full
LIMITED = """
import resource, sys
import numpy as np
from pathlib import Path
from compress.engine.errors import ExplainedError
from export.onnx.ptq import quantize_static

model, target = map(Path, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    quantize_static(model, np.zeros((2, 3, 8, 8), np.float32), target)
except (ExplainedError, OSError):
    sys.exit("refused")
"""


def test_a_failed_write_is_told_by_the_error_alone(tmp_path: Path) -> None:
    """onnxruntime logs a traceback there, and goes on until it fails for another reason."""
    weight = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ("batch", 3, 8, 8))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 64, 6, 6))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "weight"], ["logits"])],
        "net",
        [images],
        [logits],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "model.onnx"), str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("", "refused\n")


def test_what_a_root_is_taken_of_stays_in_float(tmp_path: Path) -> None:
    """Among 256 levels the smallest of ``|x|`` are one; a root tells them apart."""
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.normal(size=(8, 3, 1, 1)).astype(np.float32),
        "least": np.float32(1e-12),
        "rows": rng.normal(size=(8, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["maps"], "conv"),
        helper.make_node("ReduceMean", ["maps", "axes"], ["pooled"], "pool", keepdims=0),
        helper.make_node("Abs", ["pooled"], ["size"], "size"),
        helper.make_node("Add", ["size", "least"], ["more"], "more"),
        helper.make_node("Sqrt", ["more"], ["root"], "root"),
        helper.make_node("MatMul", ["root", "rows"], ["logits"], "head"),
    ]
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("batch", 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 4))],
        [axes, *(numpy_helper.from_array(np.array(w), name) for name, w in weights.items())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    images = rng.normal(size=(16, 3, 8, 8)).astype(np.float32)
    written = onnx.load(quantize_static(tmp_path / "model.onnx", images, tmp_path / "ptq.onnx"))
    inputs = {node.name: node.input[0] for node in written.graph.node}
    rounded = {node.output[0] for node in written.graph.node if "Dequantize" in node.op_type}
    assert inputs["conv"] in rounded and inputs["head"] in rounded
    assert inputs["more"] not in rounded and inputs["root"] not in rounded
