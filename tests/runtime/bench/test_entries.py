"""Which models a bench times, and what becomes a state instead of an error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from manifests import manifest_of
from tiny_bundles import float_model

from runtime import BackendError, BundleError
from runtime.bench.entries import entries
from runtime.bench.run import bench
from runtime.bundle import sha256_of


def test_a_bundle_called_teacher_is_not_mistaken_for_it(bundle: Path, tmp_path: Path) -> None:
    from runtime.bundle import open_bundle

    renamed = open_bundle(shutil.copytree(bundle, tmp_path / "teacher"))
    assert [entry.model for entry in entries(renamed, ["int8"], bundle)] == ["student", "teacher"]
    assert [entry.model for entry in entries(renamed, ["int8"], None)] == ["teacher"]


def test_a_teacher_that_is_neither_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="teacher"):
        bench(bundle, teacher=tmp_path / "nothing.onnx")
    bare = float_model(tmp_path / "bare.onnx")
    with pytest.raises(BundleError, match="does not describe itself"):
        bench(bundle, teacher=bare, seconds=0.05, threads=1)


def test_a_teacher_may_be_one_file(bundle: Path, teacher_file: Path) -> None:
    found = bench(bundle, ["int8"], teacher=teacher_file, seconds=0.05, threads=1).to_json()
    assert {row["model"] for row in found["rows"]} == {"petals", "teacher"}
    assert found["teacher"] == {"name": "model.fp32.onnx", "file_sha256": sha256_of(teacher_file)}
    assert set(found["speedups"]) == {"int8_vs_teacher", "int8_vs_teacher@end_to_end"}


def test_an_unrequested_model_that_fails_to_load_is_recorded_and_skipped(
    bundle: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(bundle, tmp_path / "bundle")
    model = (
        (broken / "model.fp32.onnx")
        .read_bytes()
        .replace(b"GlobalAveragePool", b"GlobalAveragePoul")
    )
    (broken / "model.fp32.onnx").write_bytes(model)
    manifest = manifest_of(broken)
    manifest["files"]["model.fp32.onnx"] = {
        "bytes": len(model),
        "sha256": sha256_of(broken / "model.fp32.onnx"),
    }
    (broken / "manifest.json").write_text(json.dumps(manifest))
    found = bench(broken, seconds=0.05, threads=1)
    assert {row.precision for row in found.rows} == {"int8"}
    assert any(
        state.startswith("fp32 was not timed: onnxruntime cannot load") for state in found.states
    )
    with pytest.raises(BackendError, match="cannot load"):
        bench(broken, ["fp32"], seconds=0.05, threads=1)
