"""Models and crops that the tests of targets share."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from PIL import Image
from tiny_bundles import SPEC, float_model, int8_model, photo

from runtime import geometry


@pytest.fixture(scope="package")
def fp32(tmp_path_factory) -> ModelProto:
    return onnx.load(float_model(tmp_path_factory.mktemp("m") / "a.onnx"))


@pytest.fixture(scope="package")
def int8(tmp_path_factory) -> ModelProto:
    folder = tmp_path_factory.mktemp("q")
    return onnx.load(int8_model(float_model(folder / "a.onnx"), folder / "b.onnx"))


@pytest.fixture(scope="package")
def batch() -> np.ndarray:
    return np.stack([geometry(Image.fromarray(photo(seed)), SPEC) for seed in range(5)])
