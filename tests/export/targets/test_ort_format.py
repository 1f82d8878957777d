from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_graphs import run
from tiny_bundles import SPEC

from compress.engine.errors import ExportError
from export.targets import ort_format
from runtime import BundleError, normalize
from runtime.files import ort as ort_file


def test_ort_format_runs_fused_and_names_its_operators(int8, batch, tmp_path: Path) -> None:
    from runtime.backends import load

    onnx.save(int8, tmp_path / "a.onnx")
    file = ort_format.save_ort(tmp_path / "a.onnx", tmp_path / "a.ort")
    ort_file.check(file)
    tensor = normalize(batch, SPEC)
    wanted = run(int8, tensor)
    assert np.abs(load("onnxruntime", file, threads=1).run(tensor) - wanted).max() <= 0.02 * np.ptp(
        wanted
    )
    listed = ort_format.required_operators(file).read_text()
    assert "QLinearConv" in listed and str(tmp_path) not in listed and "#" not in listed


RANDOMIZED = "import ctypes, sys; sys.exit(ctypes.CDLL(None).personality(0x0040000) == -1)"


@pytest.mark.skipif(
    bool(subprocess.run([sys.executable, "-I", "-c", RANDOMIZED], capture_output=True).returncode),
    reason="address randomization cannot be switched off here",
)
def test_ort_format_repeats_its_bytes(fp32, tmp_path: Path) -> None:
    onnx.save(fp32, tmp_path / "a.onnx")
    (tmp_path / "elsewhere").mkdir()
    first = ort_format.save_ort(tmp_path / "a.onnx", tmp_path / "1.ort").read_bytes()
    assert (
        first
        == ort_format.save_ort(
            tmp_path / "a.onnx", tmp_path / "elsewhere" / "another.ort"
        ).read_bytes()
    )


def test_a_broken_model_has_no_ort_format(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"not a model")
    with pytest.raises(ExportError, match="cannot be written in ORT format"):
        ort_format.save_ort(tmp_path / "a.onnx", tmp_path / "a.ort")


@pytest.mark.parametrize("content", [b"", b"short", b"\0\0\0\0ONNX" + bytes(64)])
def test_what_is_no_ort_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ort").write_bytes(content)
    with pytest.raises(BundleError, match="not an ORT format model"):
        ort_file.check(tmp_path / "a.ort")


def test_an_ort_file_that_names_a_context_of_another_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ort").write_bytes(b"\0\0\0\0ORTM" + (9).to_bytes(4, "little") + b"EPContext\0")
    with pytest.raises(BundleError, match="EPContext"):
        ort_file.check(tmp_path / "a.ort")
    (tmp_path / "a.ort").write_bytes(
        b"\0\0\0\0ORTM" + (12).to_bytes(4, "little") + b"myEPContext1\0"
    )
    ort_file.check(tmp_path / "a.ort")
