"""Protobuf's wire format, against messages that the onnx package wrote."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from runtime.files import protobuf


def tensor() -> onnx.TensorProto:
    return numpy_helper.from_array(np.arange(300, dtype=np.float32), "weights")


def test_fields_are_those_of_the_message() -> None:
    data = tensor().SerializeToString()
    found = dict(protobuf.fields(memoryview(data)))
    assert found[1] == 300 and found[2] == onnx.TensorProto.FLOAT
    assert bytes(found[8]) == b"weights" and len(found[9]) == 1200
    parts = [data[start:end] for _, _, start, end in protobuf.spans(memoryview(data))]
    assert b"".join(parts) == data, "spans leave nothing out"


def test_numbers_of_fixed_width_have_a_span_and_no_value() -> None:
    data = helper.make_attribute("alpha", 0.5).SerializeToString()
    spans = {number: value for number, value, _, _ in protobuf.spans(memoryview(data))}
    assert spans[2] is None and 2 not in dict(protobuf.fields(memoryview(data)))


def test_what_is_put_together_is_read_by_onnx() -> None:
    data = tensor().SerializeToString() + protobuf.message(12, b"a note")
    data += protobuf.number(1, 2**40)
    read = onnx.TensorProto.FromString(data)
    assert read.doc_string == "a note" and list(read.dims) == [300, 2**40]


@pytest.mark.parametrize("data", [b"\x0a\x05abc", b"\x00", b"\x0f\x01", b"\x09\x01"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(protobuf.spans(memoryview(data)))
