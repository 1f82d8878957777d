"""Formats of further engines: what each is written from, and by which module of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from onnx import ModelProto

from compress.engine.errors import MissingExtraError
from runtime import PreprocessSpec
from runtime.backends import Runner
from runtime.backends.runner import reason

OURS = ("compress", "export", "runtime")  # packages of this project
Writer = Callable[..., tuple[Path, ...]]


@dataclass(frozen=True)
class Format:
    """What an engine's files are written from, and by what."""

    suffix: str  # of the file that the manifest names
    precisions: tuple[str, ...]  # bases of a target, the usual one first
    module: str  # ours, with its ``write``
    needs: tuple[str, ...]  # packages of the conversion
    extra: str  # that brings them
    modifiers: tuple[str, ...] = ("logits", "batch1")  # that go with it
    note: str = ""  # what a user must know, for the manifest's "why"
    has_environment: bool = False  # its converter runs in a Python environment of its own
    evaluator: str = ""  # a module of ours whose ``load(file, preprocess)`` runs what no engine can
    elsewhere: str = ""  # where its engine runs, if not here

    def write(
        self, model: ModelProto, file: Path, base: str, environment: Path | None = None
    ) -> tuple[Path, ...]:
        """Writes ``model``, the graph of ``base``; returns all files, the named one first.

        ``environment`` is the converter's, for formats that need one.

        Raises:
            MissingExtraError: a package of the conversion is absent, or installed in part.
            ExportError: the engine's converter refuses the model.
        """
        writer: Writer = import_module(self.module).write
        try:
            where = (environment,) if self.has_environment else ()
            return writer(model, file, base, *where)
        except ImportError as error:
            if (error.name or "").partition(".")[0] in OURS:
                raise  # no package is absent: it is a fault of this code
            absent = error.name in self.needs
            what = f"{file.name} needs {error.name if absent else f'all of {self.extra}'}"
            got = None if absent else reason(error)
            remedy = f"pip install 'clip2edge[{self.extra}]'"
            raise MissingExtraError(what, got=got, remedy=remedy) from error

    def evaluate(self, file: Path, spec: PreprocessSpec) -> Runner:
        """The file in our own evaluator; ExportError for an operator that it lacks."""
        load: Callable[[Path, PreprocessSpec], Runner] = import_module(self.evaluator).load
        return load(file, spec)


FORMATS: dict[str, Format] = {
    "openvino": Format(
        suffix=".xml",
        precisions=("int8", "fp16", "fp32"),
        module="export.engines.openvino",
        needs=("openvino",),
        extra="openvino",
        modifiers=("u8in", "logits", "batch1"),
    ),
    "ncnn": Format(
        suffix=".param",
        precisions=("fp16", "fp32"),
        module="export.engines.ncnn",
        needs=("pnnx",),
        extra="pnnx",
        modifiers=("logits",),
        note="takes one image a call",
    ),
    "litert": Format(
        suffix=".tflite",
        precisions=("int8", "fp32"),
        module="export.engines.litert",
        needs=(),
        extra="litert",
        modifiers=("logits",),
        note="takes one image a call",
        has_environment=True,
    ),
    "executorch": Format(
        suffix=".pte",
        precisions=("int8", "fp32"),
        module="export.engines.executorch",
        needs=("executorch",),
        extra="executorch",
        modifiers=("logits",),
        note="takes one image a call",
    ),
    "coreml": Format(
        suffix=".mlpackage.zip",
        precisions=("fp16", "int8", "fp32"),
        module="export.engines.coreml",
        needs=("coremltools",),
        extra="coreml",
        modifiers=("logits",),
        note="an .mlpackage, zipped; takes one upright RGB image of the model's size",
        evaluator="export.engines.coreml_program",
        elsewhere="Core ML runs on Apple's systems alone",
    ),
}
