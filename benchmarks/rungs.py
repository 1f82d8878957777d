"""One rung of a ladder: a build of the public pipeline, and which test images it gets right."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress import pipeline
from compress.config import HostSettings, Settings
from compress.progress import RichProgress
from runtime import normalise
from runtime.backends import load

BACKEND = "onnxruntime"
#: label of a column -> its predictions in the stage "bench"
BENCHED = {
    "int8": "student_int8", "PTQ": "student_ptq", "probe": "teacher", "zero-shot": "teacher_zero_shot",
}  # fmt: skip

Cell = dict[str, NDArray[np.bool_]]


def test_split(run: pipeline.Run, name: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """The images ``(N, S, S, 3)`` uint8 of a test set and their labels ``(N,)``."""
    data = run.stages["data"].path
    labels = np.asarray([row["label"] for row in json.loads((data / f"{name}.json").read_text())])
    return np.load(data / f"{name}.npy"), labels


def measure_rung(settings: Settings, work: Path, name: str, host: HostSettings | None = None) -> NDArray[np.bool_]:
    """Builds a rung up to its student, exports that and gives its hits on the test split, ``(N,)`` bool."""
    run = pipeline.run(settings, work, name, until="distill", host=host, progress=RichProgress())
    return exported_hits(run, ("test",))


def measure_domains(settings: Settings, work: Path, name: str, host: HostSettings | None = None) -> NDArray[np.bool_]:
    """As `measure_rung`, on the test sets of every domain one behind the other (all equally long in ``petals``)."""
    run = pipeline.run(settings, work, name, until="distill", host=host, progress=RichProgress())
    further = sorted(f"test_{domain}" for domain in run.stages["data"].facts["domains"])
    return exported_hits(run, ("test", *further))


def exported_hits(run: pipeline.Run, tests: tuple[str, ...]) -> NDArray[np.bool_]:
    """What the run's student, exported and run by the runtime, gets right on its test sets, ``(N,)`` bool."""
    from compress.distill.students import load_student
    from export.to_onnx import save, to_onnx

    student = load_student(run.stages["distill"].path)
    with tempfile.TemporaryDirectory() as folder:
        runner = load(BACKEND, save(to_onnx(student, student.spec.input_size), Path(folder) / "model.fp32.onnx"))
        hits = []
        for test in tests:
            images, labels = test_split(run, test)
            pixels = normalise(images, student.spec.preprocess(run.settings.image))
            logits = np.concatenate([runner.run(pixels[at : at + 64]) for at in range(0, len(pixels), 64)])
            hits.append(logits.argmax(1) == labels)
    return np.concatenate(hits)


def measure_bench(
    settings: Settings, work: Path, name: str, columns: Mapping[str, str], host: HostSettings | None = None
) -> Cell:
    """Builds up to the stage "bench" and gives the hits of its predictors: label of a column -> ``(N,)`` bool."""
    run = pipeline.run(settings, work, name, until="bench", host=host, progress=RichProgress())
    predictions = np.load(run.stages["bench"].path / "predictions.npz")
    labels = predictions["labels"]
    return {label: np.asarray(predictions[key].argmax(1) == labels) for label, key in columns.items()}
