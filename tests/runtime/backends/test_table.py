"""Rows of the backends."""

from __future__ import annotations

import pytest

from runtime.backends import BACKENDS


@pytest.mark.parametrize(
    ("kernels", "quantized"),
    [
        ({"int8 compute": 3, "fp32 compute": 2}, True),
        ({"int8 compute": 2, "fp16 compute": 1, "fp32 compute": 1}, False),
        ({"int8 compute": 1, "unknown compute": 1}, False),
        ({"int8 other": 9, "fp32 compute": 1}, False),
        ({}, False),
    ],
)
def test_quantized_means_most_of_the_compute(kernels: dict[str, int], quantized: bool) -> None:
    assert BACKENDS["tensorrt"].is_quantized(kernels) is quantized
