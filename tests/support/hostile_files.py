"""Malicious and damaged files, by what is wrong with them."""

from __future__ import annotations

import io
import zipfile

import onnx
from onnx import TensorProto, helper

HOSTILE_JSON = {
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "deep but closed": b"[" * 600 + b"]" * 600,
    "long integer": b"9" * 100_000,
    "infinity": b"[1e999]",
    "not a number": b"[NaN]",
    "repeated key": b'{"schema": 1, "schema": 2}',
    "escaped half surrogate": b'["\\ud800"]',
    "half surrogate as a key": b'{"\\udfff": 1}',
    "encoded half surrogate": b'["\xed\xa0\x80"]',
    "broken UTF-8": b'["\xff"]',
    "UTF-16": '["a"]'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf[]",
    "zeros": bytes(1000),
    "nothing": b"",
    "two values": b"[] []",
    "17 MB": b'["' + b"a" * (17 * 2**20) + b'"]',
}


def archive(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(header: str, payload: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + payload


def plain(descr: str, shape: str) -> str:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"


def marked(made: bytes, at: int, value: int) -> bytes:
    """A zip with one byte of its first central directory entry (APPNOTE.TXT, 4.3.12) set."""
    out = bytearray(made)
    out[made.index(b"PK\x01\x02") + at] = value
    return bytes(out)


HOSTILE_GOLDEN = {
    "a bomb": archive(zipfile.ZIP_DEFLATED, a=bytes(2**27)),
    "a header that claims a terabyte": archive(a=npy(plain("|u1", "(1099511627776,)"))),
    "a shape that overflows": archive(
        a=npy(plain("|u1", "(999999999999, 999999999999, 999999999999)"))
    ),
    "many dimensions": archive(a=npy(plain("|u1", "(" + "1, " * 9000 + ")"), b"1")),
    "a header of brackets": archive(a=npy("(" * 5000)),
    "a header of digits": archive(a=npy(plain("|u1", "(" + "1" * 60000 + ")"))),
    "an object": archive(a=npy(plain("|O", "(1,)"), b"cos\nsystem\n(S'true'\ntR.")),
    "code in the header": archive(a=npy("__import__('os').abort()")),
    "text outside Unicode": archive(decoded=npy(plain("<U1", "(1,)"), b"\xff\xff\xff\x7f")),
    "text of no length": archive(a=npy(plain("<U0", "(3,)"))),
    "Fortran order": archive(
        a=npy("{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }", b"1")
    ),
    "a short array": archive(a=npy(plain("<f4", "(4,)"), b"1234")),
    "an array outside": archive(**{"../../a": npy(plain("|u1", "(1,)"), b"1")}),
    "thousands of arrays": archive(**{f"a{index}": b"" for index in range(3000)}),
    "no array": archive(a=b"hello"),
    "an encrypted array": marked(archive(a=npy(plain("|u1", "(1,)"), b"1")), 8, 1),
    "bzip2": archive(zipfile.ZIP_BZIP2, a=b"hello"),
    "an unknown compression": marked(archive(a=b"hello"), 10, 0x63),
    "a wrong checksum": archive(a=npy(plain("|u1", "(4,)"), b"1234")).replace(b"1234", b"1235"),
    "nothing": b"",
    "zeros": bytes(100),
}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def tag(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested(levels: int) -> bytes:
    """Graphs in attributes of nodes of graphs."""
    graph = b""
    for _ in range(levels):
        graph = tag(1, tag(4, b"If") + tag(5, tag(6, graph)))
    return tag(7, graph) + tag(8, tag(2, b""))


RELU = helper.make_node("Relu", ["x"], ["y"])


def model(*nodes: onnx.NodeProto, **parts: object) -> bytes:
    made = helper.make_model(helper.make_graph(list(nodes) or [RELU], "g", [], []), **parts)
    return bytes(made.SerializeToString())


def with_external(place: str) -> bytes:
    """A tensor in another file: where a branch, a function or the training part holds it."""
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    constant = helper.make_node("Constant", [], ["z"], value=tensor)
    made = onnx.load_from_string(model())
    graph = helper.make_graph([constant], "b", [], [])
    if place == "sparse":
        values = onnx.SparseTensorProto(values=tensor)
        made.graph.sparse_initializer.append(values)
    elif place == "training":
        made.training_info.add().algorithm.CopyFrom(graph)
    elif place == "list of graphs":
        made.graph.node[0].attribute.append(helper.make_attribute("branches", [graph]))
    elif place == "list of tensors":
        made.graph.node[0].attribute.append(helper.make_attribute("values", [tensor]))
    return bytes(made.SerializeToString())


HOSTILE_ONNX = {
    "graphs in graphs in graphs": nested(5000),
    "half a million fields": b"\x08\x01" * 500_001,
    "half a million nodes": tag(7, b"\x0a\x00" * 500_001),
    "a number that never ends": b"\x08" + b"\xff" * 100_000,
    "a length that never ends": b"\x3a" + b"\x80" * 100,
    "a length beyond the file": b"\x3a\xff\xff\xff\xff\x07abc",
    "a group": b"\x0b\x0c",
    "field 0": b"\x02\x00",
    "an operator's name of a megabyte": tag(7, tag(1, tag(4, b"A" * 2**20))),
    "an operator that is a number": tag(7, tag(1, b"\x20\x01")),
    "an operator that is not text": tag(7, tag(1, tag(4, b"\xff\xfe"))),
    "20 MB of metadata": tag(14, tag(1, b"k") + tag(2, bytes(20 * 2**20))),
    "metadata told twice": model()
    + tag(14, tag(1, b"k") + tag(2, b"a"))
    + tag(14, tag(1, b"k") + tag(2, b"b")),
    "a custom operator": model(helper.make_node("Evil", ["x"], ["y"], domain="my.ops")),
    "a compiled context": model(
        helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")
    ),
    "a function of its own": model(
        functions=[helper.make_function("", "Relu", ["x"], ["y"], [RELU], [])]
    ),
    "external in a sparse tensor": with_external("sparse"),
    "external in the training part": with_external("training"),
    "external in a list of graphs": with_external("list of graphs"),
    "external in a list of tensors": with_external("list of tensors"),
    "external, written with 33 bits": model() + tag(7, tag(5, b"\x70" + b"\x81\x80\x80\x80\x10")),
    "external in a second graph": model() + tag(7, tag(5, b"\x70\x01")),
    "nothing": b"",
}
