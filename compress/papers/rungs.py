"""One rung of a ladder: a build of the public pipeline, and which test images it gets right."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.api import Run, run_stages
from compress.engine.config import HostSettings, Settings
from compress.engine.progress import RichProgress
from compress.engine.seeds import numpy_rng
from runtime import normalize
from runtime.backends import load

BACKEND = "onnxruntime"
#: label of a column -> its predictions in the stage "bench"
BENCHED = {
    "int8": "student_int8",
    "PTQ": "student_ptq",
    "probe": "teacher",
    "zero-shot": "teacher_zero_shot",
}

Cell = dict[str, NDArray[np.bool_]]


def test_split(run: Run, name: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """The images ``(N, S, S, 3)`` uint8 of a test set and their labels ``(N,)``."""
    data = run.stages["data"].path
    labels = np.asarray([row["label"] for row in json.loads((data / f"{name}.json").read_text())])
    return np.load(data / f"{name}.npy"), labels


def measure_rung(
    settings: Settings, work: Path, name: str, host: HostSettings | None = None
) -> NDArray[np.bool_]:
    """Builds a rung up to its student, exports that and gives its hits on the test split, ``(N,)``
    bool.
    """
    run = run_stages(settings, work, name, until="distill", host=host, progress=RichProgress())
    return exported_hits(run, ("test",))


def measure_domains(
    settings: Settings, work: Path, name: str, host: HostSettings | None = None
) -> NDArray[np.bool_]:
    """As `measure_rung`, on the test set of every domain, ``(domains, N)`` in the order of
    `domain_names`.

    N is the size of the smallest; of larger ones a fixed random part is taken, so that every domain
    weighs the same.
    """
    run = run_stages(settings, work, name, until="distill", host=host, progress=RichProgress())
    hits = [exported_hits(run, (test,)) for test in ("test", *_further(run))]
    size = min(len(part) for part in hits)
    parts = [
        np.sort(numpy_rng(0, "domain part", i).permutation(len(part))[:size])
        for i, part in enumerate(hits)
    ]
    return np.stack([part[rows] for part, rows in zip(hits, parts, strict=True)])


def domain_names(run: Run) -> tuple[str, ...]:
    """The run's own domain first, then the others by name."""
    return (
        run.stages["data"].facts["domain"],
        *(name.removeprefix("test_") for name in _further(run)),
    )


def _further(run: Run) -> list[str]:
    return sorted(f"test_{domain}" for domain in run.stages["data"].facts["domains"])


def measure_unused(
    settings: Settings, work: Path, name: str, host: HostSettings | None = None
) -> NDArray[np.bool_]:
    """As `measure_rung`, on training images that are no shots: what a recipe may be chosen on."""
    run = run_stages(settings, work, name, until="distill", host=host, progress=RichProgress())
    return hits_on(run, [unused_images(run)])


#: Paper.measured_on -> how a cell is measured
MEASURES = {"test": measure_rung, "domains": measure_domains, "unused": measure_unused}


def unused_images(run: Run, limit: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Training images that are no shots of the run, ``(N, S, S, 3)`` uint8 in the student's
    geometry, and their labels.

    The same images for every run of a source and seed, as many of each class as far as there are.
    """
    from compress.data.geometry import eval_geometry
    from compress.data.shots import stratified_part
    from compress.data.sources import open_source
    from runtime.preprocess import geometry

    source = open_source(run.settings.data)
    shots = {row["key"] for row in json.loads((run.stages["data"].path / "shots.json").read_text())}
    rest = source.train.subset(
        [i for i in range(len(source.train)) if source.train.keys[i] not in shots]
    )
    part = rest.subset(stratified_part(rest, source.names, min(limit, len(rest))))
    spec = eval_geometry(run.settings.image)
    return np.stack([geometry(part.image(i), spec) for i in range(len(part))]), part.labels


def exported_hits(run: Run, tests: tuple[str, ...]) -> NDArray[np.bool_]:
    """What the run's student, exported and run by the runtime, gets right on its test sets,
    ``(N,)`` bool.
    """
    return hits_on(run, [test_split(run, test) for test in tests])


def hits_on(run: Run, sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> NDArray[np.bool_]:
    """What the run's student, exported and run by the runtime, gets right on images with labels,
    ``(N,)`` bool.
    """
    from compress.distill.artifact import DistillArtifact
    from export.onnx.convert import save, to_onnx

    student = DistillArtifact(run.stages["distill"].path).student()
    with tempfile.TemporaryDirectory() as folder:
        runner = load(
            BACKEND,
            save(to_onnx(student, student.spec.input_size), Path(folder) / "model.fp32.onnx"),
        )
        hits = []
        for images, labels in sets:
            pixels = normalize(images, student.spec.preprocess(run.settings.image))
            logits = np.concatenate(
                [runner.run(pixels[at : at + 64]) for at in range(0, len(pixels), 64)]
            )
            hits.append(logits.argmax(1) == labels)
    return np.concatenate(hits)


def measure_bench(
    settings: Settings,
    work: Path,
    name: str,
    columns: Mapping[str, str],
    host: HostSettings | None = None,
) -> Cell:
    """Builds up to the stage "bench" and gives the hits of its predictors: label of a column ->
    ``(N,)`` bool.
    """
    run = run_stages(settings, work, name, until="bench", host=host, progress=RichProgress())
    predictions = np.load(run.stages["bench"].path / "predictions.npz")
    labels = predictions["labels"]
    return {
        label: np.asarray(predictions[key].argmax(1) == labels) for label, key in columns.items()
    }
