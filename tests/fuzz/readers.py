"""The readers that meet files from strangers, each as a function of bytes: a valid object or an
EdgeError, nothing else.

``tests/runtime/files/test_fuzz.py`` feeds them with hypothesis, ``run.py`` beside this file with
atheris.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from runtime import EdgeError, PreprocessSpec
from runtime.bundle import labels_from_json
from runtime.files.executorch import check as check_executorch
from runtime.files.golden_npz import read as read_golden
from runtime.files.manifest import CHECK, check_manifest
from runtime.files.ncnn import check as check_ncnn
from runtime.files.onnx import check as check_onnx
from runtime.files.openvino import check as check_openvino
from runtime.files.ort import check as check_ort
from runtime.files.strict_json import parse_json
from runtime.preprocess import decode

#: weights of the model in tests/support/ncnn_files.py: two layers with a tag each
NCNN_WEIGHTS = bytes(4 + 56 * 4 + 4 + 12 * 4)
_FOLDER = Path(tempfile.mkdtemp(prefix="clip2edge-fuzz-"))


def manifest(data: bytes) -> object:
    manifest = parse_json(data, "manifest.json")
    if isinstance(manifest, dict):
        manifest.pop(CHECK, None)  # what lies behind it is tried
    return check_manifest(manifest, Path("bundle"))


def preprocess(data: bytes) -> object:
    return PreprocessSpec.from_json(parse_json(data, "preprocess.json"))


def labels(data: bytes) -> object:
    return labels_from_json(parse_json(data, "labels.json"))


def golden(data: bytes) -> object:
    return read_golden(_file("golden.npz", data))


def onnx(data: bytes) -> object:
    return check_onnx(_file("model.onnx", data))


def ort(data: bytes) -> object:
    return check_ort(_file("model.ort", data))


def openvino(data: bytes) -> object:
    _file("model.bin", bytes(64))
    return check_openvino(_file("model.xml", data))


def ncnn(data: bytes) -> object:
    _file("model.bin", NCNN_WEIGHTS)
    return check_ncnn(_file("model.param", data))


def executorch(data: bytes) -> object:
    return check_executorch(_file("model.pte", data))


def image(data: bytes) -> object:
    return decode(data, max_pixels=1_000_000)


READERS: dict[str, Callable[[bytes], object]] = {
    function.__name__: function
    for function in (
        *(manifest, preprocess, labels, golden, image),
        *(onnx, ort, openvino, ncnn, executorch),
    )
}


def refused(reader: str, data: bytes) -> EdgeError | None:
    """Why the reader refuses ``data``; None where it reads it. Every other exception is the bug
    that is looked for.
    """
    try:
        READERS[reader](data)
    except EdgeError as error:
        str(error).encode()  # the reason can be printed
        return error
    return None


def _file(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path
