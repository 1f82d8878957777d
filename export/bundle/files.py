"""File names of a bundle that a build alone writes; ``runtime.bundle`` has those a device reads."""

from __future__ import annotations

from runtime.files.manifest import PROVENANCE as PROVENANCE

MIXED = "mixed"  # key of a model with some blocks in float, see export/sensitivity


def model_file(key: str, suffix: str = ".onnx") -> str:
    """The file of a model or an export target, e.g. ``int8.trt`` -> ``model.int8.trt.onnx``."""
    return f"model.{key}{suffix}"


# Precision -> file: "int8" is the fast one of onnxruntime, "int8.trt" the one for TensorRT's parser
# (export/onnx/qdq.py).
MODELS = {key: model_file(key) for key in ("int8", "int8.trt", "fp16", "fp32")}
LABELS_TEXT = "labels.txt"
CARD = "README.md"
