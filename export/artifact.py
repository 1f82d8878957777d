"""Files of the export stage.

bundle/                   what ships (see ``runtime.bundle`` and ``export.bundle.files``)
teacher/model.fp32.onnx   the teacher, measured exactly as the student is
ptq/model.ptq.onnx        onnxruntime's own quantization of the student: the baseline of training
parity.json               every file against the torch model it comes from
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.engine.store import write_json
from export.bundle.files import MODELS, model_file

PARITY = "parity.json"


@dataclass(frozen=True)
class ExportArtifact:
    """The folder of an export stage, finished or being written."""

    folder: Path

    @property
    def bundle(self) -> Path:
        """What ships."""
        return self.folder / "bundle"

    @property
    def teacher(self) -> Path:
        """The teacher's ONNX file."""
        return self.folder / "teacher" / MODELS["fp32"]

    @property
    def baseline(self) -> Path:
        """The file of onnxruntime's own post-training quantization."""
        return self.folder / "ptq" / model_file("ptq")

    def write_parity(self, rows: Mapping[str, Any]) -> None:
        """Writes how every file compares with its torch model."""
        write_json(self.folder / PARITY, rows)
