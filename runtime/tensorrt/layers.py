"""What really runs: the layers of a built engine, from the JSON of TensorRT's engine inspector.

QDQ nodes in a file are a wish: TensorRT fuses, reformats and picks kernels. The inspector (with
detailed profiling verbosity) reports the result. Its JSON differs by version: 10.x names a tensor's
type in "Format/Datatype", its inputs and outputs in "Bindings"; 11.x has "Datatype" (or "DataType")
beside "Format", and "I/O Tensors". Sources: NVIDIA, Migrating IEngineInspector Usage from TensorRT
10.x to 11.x; the layers' fields, engine inspector documentation.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from runtime.errors import BackendError

# Precision -> the inspector's spellings; the longer word first: "UInt8" contains "Int8", "BFloat16"
# contains "Float".
_TYPES = (
    ("uint8", r"uint8"),
    ("int8", r"int8"),
    ("bf16", r"bfloat16|bf16"),
    ("fp8", r"fp8|float8"),
    ("fp16", r"half|fp16"),
    ("fp32", r"fp32|float"),
    ("int64", r"int64"),
    ("int32", r"int32"),
    ("bool", r"bool"),
)
_TACTICS = (
    ("int8", r"i8i8|i8f|int8|imma|s8s8"),
    ("fp16", r"f16f16|h16816|hmma|fp16"),
    ("fp32", r"f32f32|sgemm|_tf32"),
)
_COMPUTE = re.compile(r"conv|gemm|matmul|matrix_?multiply|fully_?connected", re.IGNORECASE)
_REFORMAT = re.compile(r"reformat|copynode", re.IGNORECASE)
_QDQ = re.compile(r"quantizelinear|quantize_linear|dequantize|^quantize", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """One layer of an engine.

    Attributes:
        kind: TensorRT's own word, e.g. "CaskConvolution", "Reformat", "kgen".
        role: "compute" (convolutions and products), "reformat", "qdq" (a Quantize or Dequantize
            that was not fused), "other".
        precision: "int8", "fp16", "fp32", ..., "unknown".
        evidence: source of the precision: "weights", "tactic", "input" or "none".
    """

    name: str
    kind: str
    role: str
    precision: str
    evidence: str


@dataclass(frozen=True)
class LayerReport:
    """The layers of an engine."""

    layers: tuple[Layer, ...]
    detailed: bool  # False for an engine built without that profiling verbosity

    def kernels(self) -> dict[str, int]:
        """ "int8 compute" -> number of layers, as in a bench row's "kernels"."""
        counts = Counter(f"{layer.precision} {layer.role}" for layer in self.layers)
        return dict(sorted(counts.items()))

    def count(self, role: str, precision: str | None = None) -> int:
        """Number of layers of a role, and of a precision."""
        return sum(x.role == role and precision in (None, x.precision) for x in self.layers)

    def states(self, qdq_nodes: int) -> list[str]:
        """Sentences: did a file with ``qdq_nodes`` Q and DQ nodes become a quantized engine?"""
        if not self.detailed:
            return ["layers unknown: the engine was built without detailed profiling verbosity"]
        reformats = f"{self.count('reformat')} reformats"
        if not qdq_nodes:
            types = Counter(layer.precision for layer in self.layers if layer.role == "compute")
            listed = ", ".join(f"{count} {name}" for name, count in sorted(types.items())) or "none"
            return [f"convolutions and products: {listed}; {reformats}"]
        total = self.count("compute")
        integer = self.count("compute", "int8")
        # Each Q or DQ node that became a layer costs a pass over memory.
        fusion = f"{self.count('qdq')} of {qdq_nodes} Q/DQ nodes were not fused"
        out = [f"{integer} of {total} convolutions and products run in int8; {fusion}; {reformats}"]
        if integer <= total - integer:
            out.append("a quantized file, but most convolutions and products do not run in int8")
        return out

    def to_json(self) -> dict[str, object]:
        layers = [asdict(layer) for layer in self.layers]
        return {"detailed": self.detailed, "kernels": self.kernels(), "layers": layers}

    @classmethod
    def from_json(cls, value: Any) -> LayerReport:
        """The inverse of ``to_json``; raises BackendError for another object."""
        try:
            return cls(tuple(Layer(**row) for row in value["layers"]), bool(value["detailed"]))
        except (TypeError, KeyError) as error:
            raise BackendError("not a layer report", got=error) from error


def parse_layers(text: str) -> LayerReport:
    """The report of the inspector's ``get_engine_information(LayerInformationFormat.JSON)``.

    Raises:
        BackendError: no JSON, or no list of layers in it.
    """
    try:
        value = json.loads(text, strict=False)  # names may hold control characters
    except (ValueError, RecursionError) as error:
        raise BackendError("the engine inspector's answer cannot be read", got=error) from error
    rows = value.get("Layers") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        what = "the engine inspector's answer has no layers"
        raise BackendError(what, got=str(text)[:80], expected='"Layers": [...]')
    named = [row for row in rows if isinstance(row, str)]  # verbosity LAYER_NAMES_ONLY
    if named:
        unknown = [Layer(n, "unknown", _role(n, "", {}), "unknown", "none") for n in named]
        return LayerReport(tuple(unknown), False)
    layers = []
    for row in (row for row in rows if isinstance(row, dict)):
        name = str(row.get("Name", ""))
        kind = str(row.get("LayerType", "unknown"))
        role = _role(name, kind, row)
        layers.append(Layer(name, kind, role, *_precision(row, role)))
    return LayerReport(tuple(layers), True)


def type_of(text: str) -> str | None:
    """The precision in a type or format, e.g. "Four wide vectorized row major Int8 format"."""
    return next((name for name, pattern in _TYPES if re.search(pattern, text, re.IGNORECASE)), None)


def tensor_type(tensor: Any) -> str | None:
    """The type of one of a layer's "Inputs" or "Outputs", as either version writes it."""
    if not isinstance(tensor, dict):
        return None
    keys = ("Datatype", "DataType", "Format/Datatype", "Format")
    types = (type_of(str(tensor.get(key) or "")) for key in keys)
    return next((precision for precision in types if precision), None)


def _role(name: str, kind: str, row: Mapping[str, object]) -> str:
    words = f"{kind} {row.get('ParameterType', '')}"
    tactic = str(row.get("TacticName", ""))
    if str(row.get("Origin", "")).upper() == "QDQ" or _QDQ.search(kind):
        return "qdq"
    if _REFORMAT.search(words) or name.startswith("Reformatting CopyNode"):
        return "reformat"
    is_fused = kind.lower() in ("fusion", "myelin", "kgen")
    if _COMPUTE.search(words) or (is_fused and _COMPUTE.search(tactic)):
        return "compute"
    only_qdq = name and all(_QDQ.search(part.rpartition("/")[2]) for part in name.split(" + "))
    return "qdq" if only_qdq and not tactic else "other"


def _precision(row: Mapping[str, object], role: str) -> tuple[str, str]:
    """Precision and its evidence: the weights' type, else the kernel's name, else the input."""
    weights = row.get("Weights")
    named = type_of(str(weights.get("Type", ""))) if isinstance(weights, dict) else None
    if named:
        return named, "weights"
    tactic = str(row.get("TacticName", ""))
    if role == "compute":
        for name, pattern in _TACTICS:
            if re.search(pattern, tactic, re.IGNORECASE):
                return name, "tactic"
    inputs = row.get("Inputs")
    types = map(tensor_type, inputs) if isinstance(inputs, list) else ()
    first = next((precision for precision in types if precision), None)
    return (first, "input") if first else ("unknown", "none")
