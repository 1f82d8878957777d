"""Every lever of the recipe: a build with it ends in a checked int8 file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.api import run_stages, settings_for
from compress.distill.artifact import DistillArtifact

HEADS = ["probe", "tip-adapter", "lp++", "prolip"]
LEVERS: dict[str, dict[str, Any]] = {
    "standardized": {"distill": {"logits": "standardized", "objective": "kd"}},
    "correlations": {"distill": {"objective": "dist"}},
    "two-cosine-heads": {"distill": {"objective": "fd_dho", "label_share": None}},
    "two-linear-heads": {"distill": {"objective": "dho", "head": "linear"}},
    "teacher-heads": {"teacher": {"heads": HEADS}},
    "averaged-targets": {"label": {"average_targets": True, "views": 2}},
    "weighed-images": {"label": {"weight": "teacher"}},
    "mixed-strategies": {"generate": {"strategy": "mix", "probing": {"candidates": []}}},
    "mixup": {"distill": {"mixup": 0.4}},
    "domains": {"distill": {"freeze_batch_norm": False, "batch_norm": "domain", "ema": 0.5}},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVERS)
def test_a_build_with_a_lever_ends_in_an_int8_file_no_larger_than_without(
    name: str, smoke_work: Path, smoke: Path
) -> None:
    settings = settings_for("petals", shots=1, preset="smoke", overrides=LEVERS[name])
    run = run_stages(settings, smoke_work, f"lever-{name}", until="export")
    made, plain = run.stages["export"].path, (smoke / "export").resolve()
    files = [file.relative_to(made) for file in sorted(made.rglob("*.onnx"))]
    assert any(file.name.endswith("int8.onnx") for file in files)
    for file in files:
        if file.parent.name != "teacher":  # which has the heads that it is given
            assert (made / file).stat().st_size <= 1.02 * (plain / file).stat().st_size, file
    student = DistillArtifact(run.stages["distill"].path).student()
    assert student.spec.merged is (name == "two-cosine-heads")
