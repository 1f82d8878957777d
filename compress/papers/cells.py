"""One cell of a table: a build up to its student, and the test images that it gets right.

The student is exported and run by the runtime, as on a device.
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
from runtime import geometry, normalize
from runtime.backends import load

UNUSED_LIMIT = 1000  # training images that a recipe is chosen on
Hits = NDArray[np.bool_]


def measure_cell(
    settings: Settings,
    work: Path,
    name: str,
    host: HostSettings | None = None,
    measured_on: str = "test",
) -> Hits:
    """Builds a student and gives its hits ``(N,)``, or ``(domains, N)``; see ``MEASURES``."""
    run = run_stages(settings, work, name, until="distill", host=host, progress=RichProgress())
    return MEASURES[measured_on].hits(run)


def domain_names(run: Run) -> tuple[str, ...]:
    """The run's own domain first, then the others by name."""
    facts = run.stages["data"].facts
    return (facts["domain"], *sorted(facts["domains"]))


def _domain_hits(run: Run) -> Hits:
    """As many images of each domain as of the smallest, so that every domain weighs the same."""
    data = DataArtifact(run.stages["data"].path)
    tests = (TEST, *(f"{TEST}_{domain}" for domain in domain_names(run)[1:]))
    hits = _hits(run, [data.images(test) for test in tests])
    size = min(len(part) for part in hits)
    drawn = [numpy_rng(0, "domain part", i).permutation(len(hit)) for i, hit in enumerate(hits)]
    return np.stack([hit[np.sort(d[:size])] for hit, d in zip(hits, drawn, strict=True)])


def _unused_hits(run: Run) -> Hits:
    """On training images that are no shots, class-balanced; the same for a source and a seed."""
    source = open_source(run.settings.data)
    shots = set(DataArtifact(run.stages["data"].path).shots.keys)
    rest = source.train.subset([i for i, key in enumerate(source.train.keys) if key not in shots])
    part = rest.subset(stratified_part(rest, source.names, min(UNUSED_LIMIT, len(rest))))
    spec = eval_geometry(run.settings.image)
    pixels = np.stack([geometry(part.image(i), spec) for i in range(len(part))])
    return _hits(run, [ImageSet(pixels, part.labels, tuple(part.keys))])[0]


class Measure(NamedTuple):
    """What a cell is measured on: its hits, and the words for it."""

    hits: Callable[[Run], Hits]
    words: str


MEASURES: dict[str, Measure] = {
    "test": Measure(
        lambda run: _hits(run, [DataArtifact(run.stages["data"].path).images(TEST)])[0],
        "on the test split",
    ),
    "domains": Measure(_domain_hits, "on the test sets of all domains"),
    "unused": Measure(
        _unused_hits, "on training images that are no shots, since a recipe is chosen here"
    ),
}


def _hits(run: Run, sets: Sequence[ImageSet]) -> list[Hits]:
    """The images of every set that the run's exported student gets right, ``(N,)`` each."""
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
