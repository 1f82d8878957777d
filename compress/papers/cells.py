"""One cell of a table: a build up to what answers, and the test images that it gets right.

A student is exported and run by the runtime, as on a device. Rows of a paper's teacher are the
teacher's own answers, and GenDD has a second read-out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.api import Run, run_stages
from compress.data.artifact import TEST, DataArtifact, ImageSet
from compress.data.geometry import eval_geometry
from compress.data.shots import stratified_part
from compress.data.sources import open_source
from compress.distill.artifact import DistillArtifact
from compress.engine.config import HostSettings, Settings
from compress.engine.progress import RichProgress
from compress.engine.seeds import numpy_rng
from compress.teacher.artifact import TeacherArtifact
from runtime import geometry, normalize
from runtime.backends import load

UNUSED_LIMIT = 1000  # training images that a recipe is chosen on
Hits = NDArray[np.bool_]
#: the hits (N,) of each set of images
Answers = Callable[[Run, Sequence[ImageSet]], list[Hits]]


def measure_cell(
    settings: Settings,
    work: Path,
    name: str,
    host: HostSettings | None = None,
    measured_on: str = "test",
    answer: str = "student",
) -> Hits:
    """Builds what answers and gives its hits ``(N,)``, or ``(domains, N)``; see ``MEASURES``."""
    row = ANSWERS[answer]
    run = run_stages(settings, work, name, until=row.until, host=host, progress=RichProgress())
    device = (host or HostSettings()).device

    def answers(run: Run, sets: Sequence[ImageSet]) -> list[Hits]:
        return row.of(run, sets, device)

    return MEASURES[measured_on].hits(run, answers)


def domain_names(run: Run) -> tuple[str, ...]:
    """The run's own domain first, then the others by name."""
    facts = run.stages["data"].facts
    return (facts["domain"], *sorted(facts["domains"]))


def _test_hits(run: Run, answers: Answers) -> Hits:
    return answers(run, [DataArtifact(run.stages["data"].path).images(TEST)])[0]


def _domain_hits(run: Run, answers: Answers) -> Hits:
    """As many images of each domain as of the smallest, so that every domain weighs the same."""
    data = DataArtifact(run.stages["data"].path)
    tests = (TEST, *(f"{TEST}_{domain}" for domain in domain_names(run)[1:]))
    hits = answers(run, [data.images(test) for test in tests])
    size = min(len(part) for part in hits)
    drawn = [numpy_rng(0, "domain part", i).permutation(len(hit)) for i, hit in enumerate(hits)]
    return np.stack([hit[np.sort(d[:size])] for hit, d in zip(hits, drawn, strict=True)])


def _unused_hits(run: Run, answers: Answers) -> Hits:
    """On training images that are no shots, class-balanced; the same for a source and a seed."""
    source = open_source(run.settings.data)
    shots = set(DataArtifact(run.stages["data"].path).shots.keys)
    rest = source.train.subset([i for i, key in enumerate(source.train.keys) if key not in shots])
    part = rest.subset(stratified_part(rest, source.names, min(UNUSED_LIMIT, len(rest))))
    spec = eval_geometry(run.settings.image)
    pixels = np.stack([geometry(part.image(i), spec) for i in range(len(part))])
    return answers(run, [ImageSet(pixels, part.labels, tuple(part.keys))])[0]


class Measure(NamedTuple):
    """What a cell is measured on: its hits, and the words for it."""

    hits: Callable[[Run, Answers], Hits]
    words: str


MEASURES: dict[str, Measure] = {
    "test": Measure(_test_hits, "on the test split"),
    "domains": Measure(_domain_hits, "on the test sets of all domains"),
    "unused": Measure(
        _unused_hits, "on training images that are no shots, since a recipe is chosen here"
    ),
}


def _student(run: Run, sets: Sequence[ImageSet], device: str) -> list[Hits]:
    """Of the run's exported student, which the runtime runs on the CPU."""
    del device
    from export.onnx.convert import save, to_onnx

    student = DistillArtifact(run.stages["distill"].path).student()
    preprocess = student.spec.preprocess(run.settings.image)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.fp32.onnx"
        runner = load("onnxruntime", save(to_onnx(student, student.spec.input_size), file))
        hits = []
        for images in sets:
            pixels = normalize(images.pixels, preprocess)
            parts = [runner.run(pixels[at : at + 64]) for at in range(0, len(pixels), 64)]
            hits.append(np.concatenate(parts).argmax(1) == images.labels)
    return hits


def _teacher(run: Run, sets: Sequence[ImageSet], device: str) -> list[Hits]:
    """Of the run's teacher: its probe, without shots its texts."""
    from compress.teacher.loading import load_teacher

    heads = TeacherArtifact(run.stages["teacher"].path).heads()
    teacher = load_teacher(run.settings.teacher, device, offline=run.settings.data.offline)
    rows = [heads.space(teacher.encode_images(images.pixels)) for images in sets]
    return [
        heads.logits(features).argmax(1) == images.labels
        for features, images in zip(rows, sets, strict=True)
    ]


def _sampling(run: Run, sets: Sequence[ImageSet], device: str) -> list[Hits]:
    """Of GenDD's denoiser: sampled features through the teacher's head."""
    from compress.distill.sampled import SampledStudent

    heads = TeacherArtifact(run.stages["teacher"].path).heads()
    artifact = DistillArtifact(run.stages["distill"].path)
    sampled = SampledStudent(artifact, run.settings, heads, device)
    return [sampled.logits(images.pixels).argmax(1) == images.labels for images in sets]


class Answer(NamedTuple):
    """What answers in a cell: the last stage that it needs, and its hits."""

    until: str
    of: Callable[[Run, Sequence[ImageSet], str], list[Hits]]


ANSWERS: dict[str, Answer] = {
    "student": Answer("distill", _student),
    "teacher": Answer("teacher", _teacher),
    "sampling": Answer("distill", _sampling),
}
