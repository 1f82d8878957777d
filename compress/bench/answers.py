"""A model's answers to a test set, in spans of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from compress.bench.artifact import part_path
from compress.bench.variants import ModelVariant, student, variants_of
from compress.data.testsets import TestSets
from compress.engine.executors.work import Advance, write_span
from compress.engine.stage import StageContext
from compress.engine.threads import threads_each
from compress.engine.versions import versions
from export.artifact import ExportArtifact
from runtime import Classifier, normalize
from runtime.host import telemetry

CHUNK = 512  # images of a span: a killed bench of a large teacher goes on there
BATCH = 32  # images in one call
LOGITS = "logits"


@dataclass(frozen=True)
class AnswerWork:
    """The logits of all outputs of one file over a test set: a `SpanWork`.

    Attributes:
        variants: names of the outputs that are wanted, all of one file.
        tests: the test sets of this process.
        model: what it has loaded already.
    """

    ctx: StageContext
    variants: Sequence[str]
    test_set: str
    tests: TestSets | None = field(default=None, repr=False, compare=False)
    model: Classifier | None = field(default=None, repr=False, compare=False)

    unit = "image"

    @property
    def name(self) -> str:
        """The set and the first output."""
        return f"{self.test_set} {self.variants[0]}".replace("_", " ")

    def spans(self) -> list[range]:
        """The images of the set in chunks."""
        count = len(self.sets.images(self.test_set))
        return [range(at, min(at + CHUNK, count)) for at in range(0, count, CHUNK)]

    def for_worker(self) -> Self:
        """A copy that loads for itself."""
        return replace(self, ctx=self.ctx.silent, tests=None, model=None)

    @cached_property
    def sets(self) -> TestSets:
        """The run's test sets; a worker needs the source where a model has its own geometry."""
        return self.tests or TestSets(self.ctx)

    @cached_property
    def _export(self) -> ExportArtifact:
        return ExportArtifact(self.ctx.inputs["export"].path)

    @cached_property
    def _outputs(self) -> list[ModelVariant]:
        known = {variant.name: variant for variant in variants_of(self._export)}
        return [known[name] for name in self.variants]

    @cached_property
    def classifier(self) -> Classifier:
        """The model in the runtime."""
        return self.model or self._outputs[0].load(self._export, threads_each(self.ctx.host))

    @property
    def loaded(self) -> Classifier | None:
        """The model, if this process has it."""
        return self.__dict__.get("classifier", self.model)

    def path(self, span: range) -> Path:
        """The logits of some images."""
        return part_path(self.ctx.partial, self.test_set, self.variants[0], span.start)

    def units(self, span: range) -> int:
        """Images."""
        return len(span)

    def about(self, span: range) -> str:
        """The images of a span."""
        return f"images {span.start}..{span.stop - 1}"

    def environment(self) -> dict[str, str]:
        """That of onnxruntime: nothing here needs torch."""
        known = versions()
        named = {name: known[name] for name in ("onnxruntime", "numpy", "pillow")}
        return {**named, "processor": telemetry.host().cpu or "unknown"}

    def load(self, span: range) -> None:
        """Nothing: images are read batch by batch."""

    def make(self, span: range, loaded: None, advance: Advance) -> None:
        """Answers to some images and writes the logits ``(outputs, n, K)``."""
        classifier, own = self.classifier, student(self._export, 1).spec
        outputs = [variant.output for variant in self._outputs]
        batches = []
        for at in range(span.start, span.stop, BATCH):
            end = min(at + BATCH, span.stop)
            pixels = self.sets.pixels(self.test_set, at, end, classifier.spec, own)
            ran = classifier.runner.run_all(normalize(pixels, classifier.spec), outputs)
            batches.append(np.stack([ran[output] for output in outputs]))
            advance(len(pixels), 0.0)
        write_span(self, span, {LOGITS: np.concatenate(batches, axis=1)})
