"""Files of the distill stage.

    student.safetensors, student.json   the student's weights and what builds it
    objective.safetensors               the objective's parameters, if it has any
    history.json                        one row per logged step

Unfinished, under ``partial/``: ``precision.json``, ``checkpoint.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.engine.store import write_json
from runtime.files.strict_json import to_text

if TYPE_CHECKING:  # a report reads histories, and needs no torch for them
    from torch import Tensor

    from compress.distill.students import Student

WEIGHTS = "student.safetensors"
SPEC = "student.json"
OBJECTIVE = "objective.safetensors"
HISTORY = "history.json"
PRECISION = "precision.json"


@dataclass(frozen=True)
class DistillArtifact:
    """The folder of a distill stage, finished or being written."""

    folder: Path

    @property
    def weights(self) -> Path:
        """The student's weights, to start another student from (``distill.init_path``)."""
        return self.folder / WEIGHTS

    def student(self) -> Student:
        """The trained student, in evaluation mode."""
        from safetensors.torch import load_file

        from compress.distill.students import StudentSpec, build

        spec = json.loads((self.folder / SPEC).read_text(encoding="utf-8"))
        spec |= {"mean": tuple(spec["mean"]), "std": tuple(spec["std"])}
        student = build(StudentSpec(**spec))
        student.load_state_dict(load_file(self.folder / WEIGHTS))
        return student.eval()

    def history(self) -> list[dict[str, float]]:
        """One row per logged step."""
        rows: list[dict[str, float]] = json.loads(
            (self.folder / HISTORY).read_text(encoding="utf-8")
        )
        return rows

    def write_student(self, student: Student) -> None:
        """Writes weights and specification."""
        from safetensors.torch import save_file

        state = {key: value.detach().contiguous() for key, value in student.state_dict().items()}
        save_file(state, self.folder / WEIGHTS)
        (self.folder / SPEC).write_text(
            to_text(asdict(student.spec), indent=1) + "\n", encoding="utf-8"
        )

    def write_objective(self, state: Mapping[str, Tensor]) -> None:
        """Writes the objective's parameters; no file without any."""
        if state:
            from safetensors.torch import save_file

            tensors = {name: value.detach().contiguous() for name, value in state.items()}
            save_file(tensors, self.folder / OBJECTIVE)

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes one row per logged step."""
        write_json(self.folder / HISTORY, list(rows))
