"""The model variants that are measured: the exported files, by name and output.

``teacher``, ``teacher_zero_shot``, ``student_fp32``, ``student_int8``, ...: nothing here touches
torch, accuracy and time are those of the files in the runtime that ships.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.artifact import ExportArtifact
from runtime import Classifier, open_bundle
from runtime.backends import load as load_model
from runtime.files.onnx import graph_outputs

LOGITS = "logits"
SHIPPING = ("student_fp32", "student_int8")
BASELINE = "student_ptq"
# made for TensorRT: onnxruntime runs it for its accuracy only
NOT_TIMED = frozenset({"student_int8_trt"})


@dataclass(frozen=True)
class ModelVariant:
    """A file, and one of its outputs."""

    name: str
    file: Path
    output: str = LOGITS

    @property
    def is_teacher(self) -> bool:
        """Whether the file is the teacher's."""
        return self.name.startswith("teacher")

    @property
    def precision(self) -> str:
        """A student's key in the bundle: "student_int8_trt" -> "int8.trt"."""
        return self.name.removeprefix("student_").replace("_", ".")

    def load(self, export: ExportArtifact, threads: int) -> Classifier:
        """The variant in the runtime; the baseline takes labels and geometry from the bundle."""
        if self.is_teacher:
            return Classifier.load(self.file, threads=threads)
        if self.name != BASELINE:
            return student(export, threads, self.precision)
        described = student(export, threads)
        runner = load_model("onnxruntime", self.file, threads=threads)
        return Classifier(runner, described.label_rows, described.spec, "ptq", "onnxruntime")


def student(export: ExportArtifact, threads: int, precision: str = "fp32") -> Classifier:
    """A model of the bundle in the runtime."""
    return Classifier.load(export.bundle, precision, threads=threads)


def teacher_name(output: str) -> str:
    """The variant of a teacher's output: ``logits_1`` is the second of several teachers alone."""
    more = output.replace(LOGITS, "").strip("_")
    return f"teacher_{more}" if more else "teacher"


def variants_of(export: ExportArtifact) -> list[ModelVariant]:
    """Every variant that the export stage wrote, the teacher first."""
    models = open_bundle(export.bundle, verify=False).models
    outputs = [name for name in graph_outputs(export.teacher) if LOGITS in name]
    out = [ModelVariant(teacher_name(output), export.teacher, output) for output in outputs]
    out += [ModelVariant(f"student_{key.replace('.', '_')}", models[key]) for key in sorted(models)]
    return out + ([ModelVariant(BASELINE, export.baseline)] if export.baseline.exists() else [])
