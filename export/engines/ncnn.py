"""ncnn's files: the graph in a .param, the weights in a .bin beside it, converted by pnnx.

``fp16`` stores the weights in half. There is no int8: ncnn rounds the inputs of convolutions alone
and no others, so that its int8 network would be another than the one that was trained.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from onnx import ModelProto

from compress.engine.errors import ExportError
from export.engines.converter import refused
from export.onnx.convert import save
from export.onnx.graph import OUTPUTS
from runtime.bundle import INPUT
from runtime.files import ncnn as ncnn_file

PROGRAM = "pnnx"
SECONDS = 600


def write(model: ModelProto, file: Path, base: str) -> tuple[Path, ...]:
    """Writes ``model`` for one image a call as ``file`` (.param) and its weights.

    Raises:
        ModuleNotFoundError: pnnx is absent.
        ExportError: it refuses the model, or leaves an operator that ncnn has not.
    """
    spec = find_spec(PROGRAM)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {PROGRAM!r}", name=PROGRAM)
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    with tempfile.TemporaryDirectory() as scratch:
        source = save(model, Path(scratch) / "m.onnx")
        shape = f"inputshape=[1,3,{size},{size}]"
        half = f"fp16={int(base == 'fp16')}"
        command = [str(Path(spec.origin).with_name(PROGRAM)), source.name, shape, half]
        done = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        made = [source.with_name(f"m.ncnn{suffix}") for suffix in (".param", ".bin")]
        if done.returncode or not all(part.is_file() for part in made):
            said = (done.stderr or done.stdout).strip().splitlines()
            raise refused(file, said[-1] if said else f"pnnx ended with {done.returncode}")
        try:
            graph = _named(ncnn_file.parse(made[0].read_text(encoding="ascii")), model, size)
        except ValueError as error:
            expected = "layers that runtime.files.ncnn allows"
            got = str(error)[:300]
            raise ExportError(f"{file.name} is no model", got=got, expected=expected) from error
        file.write_text(graph.text(), encoding="ascii")
        weights = ncnn_file.weights(file)
        weights.write_bytes(made[1].read_bytes())
    ncnn_file.check(file)
    return file, weights


def _named(graph: ncnn_file.Param, model: ModelProto, size: int) -> ncnn_file.Param:
    """The graph with our names of its inputs and outputs, and the size of its images."""
    names = [value.name for value in model.graph.output if value.name in OUTPUTS]
    new = {f"out{index}": name for index, name in enumerate(names)} | {"in0": INPUT}
    edges = {0: str(size), 1: str(size), 2: "3"}
    layers = [
        replace(
            layer,
            inputs=tuple(new.get(name, name) for name in layer.inputs),
            outputs=tuple(new.get(name, name) for name in layer.outputs),
            numbers=edges if layer.kind == "Input" else layer.numbers,
        )
        for layer in graph.layers
    ]
    return ncnn_file.Param(tuple(layers))
