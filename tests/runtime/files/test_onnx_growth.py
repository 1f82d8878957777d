"""What a graph's file alone says about the size of its results."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from odd_models import UNBOUNDED, change
from onnx import TensorProto, helper, numpy_helper

from runtime import BundleError, Classifier
from runtime.files.onnx import check

N = 2**15


def written(path: Path, nodes: list[onnx.NodeProto], **constants: object) -> Path:
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    stored = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "g", [image], [logits], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    path.write_bytes(model.SerializeToString())
    return path


def op(name: str, *inputs: str, out: str = "logits", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(name, list(inputs), [out], **attributes)


LARGE = op("ConstantOfShape", "size", out="a")
HUGE: dict[str, tuple[list[onnx.NodeProto], dict[str, object]]] = {
    "joined again and again": (
        [op("Concat", f"x{i}", f"x{i}", out=f"x{i + 1}", axis=1) for i in range(40)],
        {},
    ),
    "joined behind what is not known": (
        [op("Foo", "images", out="x0")]
        + [op("Concat", f"x{i}", f"x{i}", out=f"x{i + 1}", axis=1) for i in range(40)],
        {},
    ),
    "a square by broadcasting": (
        [
            LARGE,
            op("Expand", "images", "row", out="b"),
            op("Expand", "images", "column", out="c"),
            op("Mul", "b", "c"),
        ],
        {"size": [4], "row": [1, N, 1, 1, 1, 1], "column": [N, 1, 1, 1, 1, 1]},
    ),
    "a shape from a shape": (
        [op("Shape", "images", out="s"), op("Mul", "s", "k", out="t"), op("Expand", "images", "t")],
        {"k": [1, 1000, 100, 100]},
    ),
    "a shape from parts": (
        [
            op("Mul", "k", "k", out="kk"),
            op("Concat", "kk", "k", out="t", axis=0),
            op("ConstantOfShape", "t"),
        ],
        {"k": [N]},
    ),
    "tiled twice": (
        [LARGE, op("Tile", "a", "k", out="b"), op("Tile", "b", "k")],
        {"size": [N], "k": [N]},
    ),
    "an outer product": ([op("Einsum", *["images"] * 2, equation="abcd,efgh->abcdefgh")], {}),
    "large products": (
        [LARGE, *(op("MatMul", "a", "a", out=f"m{i}") for i in range(4))],
        {"size": [16000, 16000]},
    ),
    "numbers without end": (
        [op("Mul", "k", "k", out="x0")]
        + [op("Mul", f"x{i}", f"x{i}", out=f"x{i + 1}") for i in range(60)]
        + [op("Expand", "images", "kk")],
        {"k": [N], "kk": [N, N, 1, 1, 1, 1]},
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_result_that_must_be_huge_is_refused(tmp_path: Path, name: str) -> None:
    nodes, constants = HUGE[name]
    model = written(tmp_path / "n.onnx", nodes, **constants)
    start = time.perf_counter()
    with pytest.raises(BundleError, match="may take any time or memory"):
        check(model)
    assert time.perf_counter() - start < 1


def test_what_may_be_small_is_not_refused(tmp_path: Path) -> None:
    nodes = [
        op("Shape", "images", out="s"),
        op("Gather", "s", "first", out="b"),
        op("Concat", "b", "rest", out="t", axis=0),
        op("Expand", "images", "t", out="x"),
        op("Einsum", "x", "x", out="y", equation="abcd,abed->abce"),
        op("NonZero", "y", out="z"),
        op("Expand", "images", "z", out="w"),
        op("MatMul", "y", "y"),
    ]
    check(written(tmp_path / "n.onnx", nodes, first=[0], rest=[197, 32, 768]))


@pytest.mark.parametrize("hostile", UNBOUNDED, ids=lambda edit: edit.__name__)
def test_the_classifier_refuses_such_a_model_at_once(
    built: Path, tmp_path: Path, hostile: Callable[..., None]
) -> None:
    bundle = Path(shutil.copytree(built, tmp_path / "bundle"))
    change(bundle, ("model.fp32.onnx",), hostile)
    with pytest.raises(BundleError, match="may take any time or memory"):
        Classifier.load(bundle, "fp32", threads=1)
