"""Bundles, and a machine with a stand-in for TensorRT."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorrt_machine import Machine
from tensorrt_surface import VERSIONS
from tiny_bundles import LABELS, SPEC, encoded, float_model, make_bundle, photo

from export.bundle.write import copy_with_metadata, write_bundle
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes."""
    return make_bundle(
        tmp_path_factory.mktemp("built") / "bundle", tmp_path_factory.mktemp("scratch")
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("built") / "petals", tmp_path_factory.mktemp("scratch")
    )


@pytest.fixture(scope="module")
def teacher_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary bundle, as ``compress export --teacher`` writes one."""
    folder = tmp_path_factory.mktemp("teacher") / "vit"
    models = {"fp32": float_model(tmp_path_factory.mktemp("scratch") / "t.onnx", seed=5)}
    write_bundle(folder, models, SPEC, LABELS, {}, [encoded(photo(1))], "# teacher\n", "fp32")
    return folder


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that describes itself, as the export stage writes the teacher."""
    folder = tmp_path_factory.mktemp("file")
    metadata = {
        META_LABELS: json.dumps([row["name"] for row in LABELS]),
        META_PREPROCESS: json.dumps(SPEC.to_json()),
        META_PRECISION: "fp32",
    }
    copy_with_metadata(
        float_model(folder / "raw.onnx", seed=5), folder / "model.fp32.onnx", metadata
    )
    return folder / "model.fp32.onnx"


@pytest.fixture
def fp32(tmp_path: Path) -> Path:
    return float_model(tmp_path / "a.onnx")


@pytest.fixture(params=VERSIONS)
def machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Machine:
    return Machine(monkeypatch, tmp_path, request.param)
