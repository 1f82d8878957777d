"""A tiny student, in float and calibrated, for the tests of quantization."""

from __future__ import annotations

import pytest
from tiny_models import TinyCNN, quantized, tiny_cnn

from compress.quantize.graph import PreparedStudent


@pytest.fixture(scope="module")
def student() -> TinyCNN:
    return tiny_cnn()


@pytest.fixture(scope="module")
def prepared(student: TinyCNN) -> PreparedStudent:
    return quantized(student)
