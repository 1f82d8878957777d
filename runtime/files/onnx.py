"""Checks an ONNX file before an engine may open it, without the onnx package.

An ONNX file is a protobuf message; a model may point to other files (external tensors, compiled
engine contexts) and so make an engine read what no manifest lists. This walks the wire format
(``runtime.files.protobuf``) and skips all payloads, in milliseconds. Field numbers are those of
onnx.proto3, frozen by its compatibility rules.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import BundleError
from runtime.files import onnx_growth, onnx_sizes, protobuf
from runtime.files.manifest import MAX_FILE_BYTES
from runtime.files.regular import open_regular

SAFE_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
UNSAFE_OPS = frozenset({"EPContext", "PyOp", "PythonOp"})  # load another file, or run code
# End when they choose, call themselves, or answer otherwise each time. No exporter of ours writes
# them.
_ENDLESS = """
    Loop Scan SequenceMap BeamSearch GreedySearch Sampling WhisperBeamSearch Multinomial Bernoulli
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike
"""
UNBOUNDED_OPS = frozenset(_ENDLESS.split())
MAX_METADATA_BYTES = 16 * 2**20  # of all entries together
MAX_DEPTH = 16  # of graphs inside attributes (If, Loop)
MAX_FIELDS = 500_000  # a ViT-L/14 has tens of thousands, and this many take a second
MAX_NAME_BYTES = 1024  # of an operator or a domain

# message -> {field number: message inside}; all else is skipped unread.
SCHEMA: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "Opset", 14: "Entry", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"}
    | {22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
INPUT = 1  # fields of Node
OUTPUT = 2
OP_TYPE = 4
DOMAIN = 7
ATTRIBUTE_NAME = 1
TENSOR_NAME = 8
LOCATION = 14  # field Tensor.data_location, and its value
EXTERNAL = 1
LOW_BITS = 2**32 - 1  # of a number, which engines keep


@dataclass
class OnnxFacts:
    """What a model file says about itself."""

    opsets: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    ops: Counter[str] = field(default_factory=Counter)
    domains: set[str] = field(default_factory=set)
    external_tensors: int = 0
    functions: int = 0  # operators that the model defines itself
    metadata_bytes: int = 0
    oversized: list[str] = field(default_factory=list)  # constants that ask for too much memory


def inspect(path: Path) -> OnnxFacts:
    """Facts about the model in ``path``; a BundleError if it is no ONNX file, or damaged."""
    facts = OnnxFacts()
    with _mapped(path) as model:
        walk = _Walk(facts)
        walk.message(model, "Model", 0)
        shapes = walk.shapes | _input_shapes(model, walk.shapes)
        facts.oversized += walk.oversized()
        facts.oversized += onnx_growth.problems(walk.nodes, shapes, walk.constants)
        if not facts.ops or not facts.opsets:
            raise ValueError("no graph")
    return facts


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file; what goes wrong with them inside becomes a BundleError."""
    try:
        with open_regular(path, MAX_FILE_BYTES) as stream:
            # Closed when the last view of it goes; an empty file cannot be mapped (ValueError).
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        yield memoryview(mapped)
    except OSError as error:
        raise BundleError(f"cannot read {path}", got=error.strerror or error) from error
    except (ValueError, IndexError) as error:  # IndexError: a broken varint runs off the end
        again = "copy the bundle again"
        raise BundleError(f"{path} is not an ONNX model", got=error, remedy=again) from error


def check(path: Path) -> OnnxFacts:
    """``inspect``, and refuses a model that reaches outside its file or need not end.

    Raises:
        BundleError: external data, an operator that loads files or repeats others, an unknown
            domain, or a constant that makes an operator's result too large.
    """
    facts = inspect(path)
    if facts.external_tensors:
        what = f"{path} keeps weights in another file"
        got = f"{facts.external_tensors} external tensors"
        remedy = "export with external_data=False"
        raise BundleError(what, got=got, expected="all weights inside", remedy=remedy)
    unsafe = sorted(UNSAFE_OPS & set(facts.ops)) + sorted(facts.domains - SAFE_DOMAINS)
    if facts.functions:  # they may call themselves, or give a standard operator another meaning
        unsafe.append(f"{facts.functions} operators that the model defines itself")
    if unsafe:
        what = f"{path} asks for code outside the engine"
        raise BundleError(what, got=", ".join(unsafe)[:400], expected="standard operators")
    endless = [*sorted(UNBOUNDED_OPS & set(facts.ops)), *facts.oversized]
    if endless:
        what = f"{path} may take any time or memory"
        expected = f"no loops, and at most {onnx_sizes.MAX_ELEMENTS:,} values a tensor"
        raise BundleError(what, got=", ".join(endless)[:400], expected=expected)
    return facts


@dataclass
class _Walk:
    """One pass over a model; gives up after ``MAX_FIELDS``, so a hostile file costs seconds."""

    facts: OnnxFacts
    left: int = MAX_FIELDS
    # small constants by name, also two of one name; operators whose inputs are sizes
    constants: dict[str, list[onnx_sizes.Numbers]] = field(default_factory=dict)
    sized: list[tuple[str, list[str]]] = field(default_factory=list)
    nodes: list[onnx_growth.Node] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of stored tensors
    equation: str = ""  # of the node that is read

    def message(self, view: memoryview, name: str, depth: int) -> list[onnx_sizes.Numbers]:
        """Reads a message; gives the small tensors directly in it."""
        if depth > 4 * MAX_DEPTH:
            raise ValueError("nested too deeply")
        inside = SCHEMA.get(name, {})
        fields = []
        tensors: list[onnx_sizes.Numbers] = []
        for number, value in self.fields(view):
            below = inside.get(number)
            if below is None or not isinstance(value, memoryview):
                if name in _KEPT:
                    fields.append((number, value))
                continue
            self.facts.functions += below == "Function"
            if below in _LEAVES:
                tensors += _LEAVES[below](self, value)
            else:
                tensors += self.message(value, below, depth + 1)
        if name == "Node":
            self.node(fields, tensors)
        elif name == "Attribute":
            key = next((value for number, value in fields if number == ATTRIBUTE_NAME), b"")
            self.note(onnx_sizes.attribute_problem(_name(key), fields))
            if key == b"equation":
                self.equation = next((_name(value) for number, value in fields if number == 4), "")
        elif name == "SparseTensor":
            self.note(onnx_sizes.dense_problem(fields))
        return tensors if name in ("Attribute", "Node") else []

    def node(self, fields: onnx_sizes.Fields, tensors: list[onnx_sizes.Numbers]) -> None:
        op = ""
        inputs: list[str] = []
        outputs: list[str] = []
        for number, value in fields:
            if number == INPUT:
                inputs.append(_name(value))
            elif number == OUTPUT:
                outputs.append(_name(value))
            elif number == OP_TYPE:
                op = _name(value)
                self.facts.ops[op] += 1
            elif number == DOMAIN:
                self.facts.domains.add(_name(value))
        if op == "Constant":
            for name in outputs:
                self.constants.setdefault(name, []).extend(tensors)
        elif op in onnx_sizes.SIZE_INPUTS:
            self.sized.append((op, inputs))
        if outputs:
            self.nodes.append(onnx_growth.Node(op, inputs, outputs, self.equation))
            self.equation = ""

    def note(self, problem: str | None) -> None:
        if problem:
            self.facts.oversized.append(problem)

    def oversized(self) -> Iterator[str]:
        """Results that constants make too large."""
        for op, inputs in self.sized:
            at = onnx_sizes.SIZE_INPUTS[op]
            names = [inputs[index] if index < len(inputs) else "" for index in at]
            constants = [self.constants.get(name, []) for name in names]
            if problem := onnx_sizes.result_problem(op, constants):
                yield problem

    def fields(self, view: memoryview) -> Iterator[tuple[int, memoryview | int]]:
        for numbered in protobuf.fields(view):
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            yield numbered

    def tensor(self, view: memoryview) -> list[onnx_sizes.Numbers]:
        fields = list(self.fields(view))
        places = [value for number, value in fields if number == LOCATION]
        external = sum(value & LOW_BITS == EXTERNAL for value in places if isinstance(value, int))
        self.facts.external_tensors += external
        if not external:
            self.note(onnx_sizes.tensor_problem(fields, len(view)))
        name = _name(next((value for number, value in fields if number == TENSOR_NAME), b""))
        self.shapes[name] = tuple(onnx_sizes.listed(fields, 1))
        values = onnx_sizes.numbers(fields)
        if values is None:
            return []
        self.constants.setdefault(name, []).append(values)
        return [values]

    def opset(self, view: memoryview) -> list[onnx_sizes.Numbers]:
        values = dict(self.fields(view))
        version = values.get(2, 0)
        self.facts.opsets[_name(values.get(1, b""))] = version if isinstance(version, int) else 0
        return []

    def entry(self, view: memoryview) -> list[onnx_sizes.Numbers]:
        self.facts.metadata_bytes += len(view)
        if self.facts.metadata_bytes > MAX_METADATA_BYTES:
            raise ValueError(f"metadata of more than {MAX_METADATA_BYTES:,} bytes")
        values = dict(self.fields(view))
        key = _text(values.get(1, b""))
        if key in self.facts.metadata:
            raise ValueError(f"metadata names {key[:80]!r} twice")
        self.facts.metadata[key] = _text(values.get(2, b""))
        return []


_KEPT = frozenset({"Node", "Attribute", "SparseTensor"})  # messages whose own fields are read
_LEAVES = {"Tensor": _Walk.tensor, "Opset": _Walk.opset, "Entry": _Walk.entry}


def _name(value: memoryview | bytes | int) -> str:
    if not isinstance(value, int) and len(value) > MAX_NAME_BYTES:
        raise ValueError(f"a name of {len(value):,} bytes")
    return _text(value)


def _text(value: memoryview | bytes | int) -> str:
    if isinstance(value, int):
        raise ValueError("a number where text belongs")
    return str(bytes(value), "utf-8")


def _input_shapes(
    model: memoryview, stored: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the graph's inputs, open dimensions as 1."""
    inputs = _graph_inputs(model, set(stored))
    return {
        name: tuple(size if isinstance(size, int) and 0 < size < 2**63 else 1 for size in shape)
        for name, shape in inputs.items()
    }


def graph_inputs(path: Path) -> dict[str, tuple[int | str, ...]]:
    """Name -> shape of the graph's inputs; an open dimension is text, its name or "?".

    Raises: BundleError: not an ONNX file, or damaged.
    """
    with _mapped(path) as model:
        # Model.graph 7 -> initializer 5 -> name 8
        return _graph_inputs(model, {_text(name) for name in _below(model, 7, 5, 8)})


def _graph_inputs(model: memoryview, stored: Collection[str]) -> dict[str, tuple[int | str, ...]]:
    shapes: dict[str, tuple[int | str, ...]] = {}
    # Model.graph 7 -> input 11: ValueInfo name 1, type 2 -> tensor_type 1 -> shape 2 -> dim 1
    for value in _below(model, 7, 11):
        name = "".join(_text(part) for part in _messages(value, 1))
        if name not in stored:  # up to IR 3 initializers are listed as inputs too
            shapes[name] = tuple(_dimension(dim) for dim in _below(value, 2, 1, 2, 1))
    return shapes


def graph_outputs(path: Path) -> list[str]:
    """The names of the graph's outputs, in order; errors as ``graph_inputs``."""
    with _mapped(path) as model:
        # Model.graph 7 -> output 12 -> name 1
        return [_text(name) for name in _below(model, 7, 12, 1)]


def _messages(view: memoryview, field_number: int) -> Iterator[memoryview]:
    for number, value in protobuf.fields(view):
        if number == field_number and isinstance(value, memoryview):
            yield value


def _below(view: memoryview, first: int, *rest: int) -> Iterator[memoryview]:
    """The messages at the end of a path of field numbers."""
    for inside in _messages(view, first):
        yield from _below(inside, *rest) if rest else iter((inside,))


def _dimension(view: memoryview) -> int | str:
    values = dict(protobuf.fields(view))
    size = values.get(1)  # dim_value, else dim_param
    return size if isinstance(size, int) else _text(values.get(2, b"?"))
