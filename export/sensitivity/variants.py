"""The variants of a finished run between int8 and fp32: file, accuracy on held-out views, time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compress.distill.artifact import DistillArtifact
from compress.engine.errors import ExportError
from compress.engine.stage import StageContext
from compress.evaluate.comparison import paired
from compress.evaluate.metrics import softmax
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.blocks import BLOCKS, Block, blocks_of, operators_of
from compress.quantize.graph import PreparedStudent
from export.artifact import ExportArtifact
from export.bundle.files import MODELS
from export.onnx.convert import save
from export.onnx.float_blocks import float_weights, leave_float, left_float
from export.onnx.qdq import to_uint8
from export.sensitivity.held_out import HeldOutViews
from export.stage import prepared_student
from runtime import PreprocessSpec, normalize
from runtime.backends import load as load_model
from runtime.bench import latency
from runtime.host import telemetry

Logits = NDArray[np.float32]
FloatBlocks = frozenset[str]  # names of the blocks that a variant leaves in float
BATCH = 32

INT8: FloatBlocks = frozenset()  # the bundle's int8 file


class Variants:
    """Variants by their float blocks; each file is written once and run on the views once.

    All blocks in float means the bundle's fp32 file. int8 is measured against ``unrounded``: that
    file, or where weights were trained, the student of the quantize stage without any quantizer.
    ``scratch`` gets the files, and there are at most ``limit`` blocks.
    """

    def __init__(
        self, ctx: StageContext, views: HeldOutViews, scratch: Path, limit: int = BLOCKS
    ) -> None:
        self.views = views
        self._scratch = scratch
        self._bundle = ExportArtifact(ctx.inputs["export"].path).bundle
        student = DistillArtifact(ctx.inputs["distill"].path).student()
        self.spec: PreprocessSpec = student.spec.preprocess(ctx.settings.image)
        self.prepared: PreparedStudent = prepared_student(ctx, student)
        self._operators = operators_of(self.prepared.graph)
        self.blocks: list[Block] = blocks_of(self._operators, limit) if self._operators else []
        if len(self.blocks) < 2:
            raise ExportError(
                "nothing can be mixed",
                got=f"{len(self.blocks)} blocks in int8",
                remedy="choose a student with more int8 operators, or fewer quantize.float_blocks",
            )
        quantized = QuantizeArtifact(ctx.inputs["quantize"].path)
        self._trained = ctx.inputs["quantize"].facts["kept"] == "qat"
        fitted = quantized.fitted()
        self.alone = not fitted  # whether a block in int8 is what it is without the others
        self._weights = float_weights(self.prepared, self._operators, fitted)
        self._files: dict[FloatBlocks, Path] = {
            INT8: self._bundle / MODELS["int8"],
            self.fp32: self._bundle / MODELS["fp32"],
        }
        self._logits: dict[Path, Logits] = {}

    @property
    def fp32(self) -> FloatBlocks:
        """Every block in float."""
        return frozenset(block.name for block in self.blocks)

    def ordered(self, names: Collection[str]) -> tuple[str, ...]:
        """Block names in the order of the network."""
        return tuple(block.name for block in self.blocks if block.name in names)

    def paths(self, names: Collection[str]) -> list[str]:
        """The setting ``quantize.float_blocks`` for these blocks."""
        return [path for block in self.blocks if block.name in names for path in block.paths]

    def file(self, names: FloatBlocks) -> Path:
        """The file for onnxruntime with the blocks ``names`` in float."""
        if names not in self._files:
            bits = (1 << place for place, b in enumerate(self.blocks) if b.name in names)
            self._files[names] = self._write(names, f"{sum(bits):x}")
        return self._files[names]

    @cached_property
    def unrounded(self) -> Path:
        """The file in float that int8 is measured against."""
        return self._write(self.fp32, "unrounded") if self._trained else self.file(self.fp32)

    def reference(self, names: Collection[str]) -> PreparedStudent:
        """The torch model that ``file(names)`` has to agree with."""
        return left_float(self.prepared, self._operators_in(names), self._weights)

    def logits(self, file: Path) -> Logits:
        """Logits ``(n, K)`` of a file on the held-out views."""
        if file not in self._logits:
            runner = load_model("onnxruntime", file, threads=telemetry.usable_cores())
            starts = range(0, len(self.views.pixels), BATCH)
            batches = (self.views.pixels[at : at + BATCH] for at in starts)
            parts = [runner.run(normalize(pixels, self.spec)) for pixels in batches]
            self._logits[file] = np.concatenate(parts)
        return self._logits[file]

    def drop(self, before: Path, after: Path) -> tuple[float, tuple[float, float]]:
        """Points of top-1 that ``after`` loses against ``before``, and the paired 95 % interval."""
        compared = paired(self.logits(before), self.logits(after), self.views.labels)
        low, high = compared.ci95
        return 100 * compared.difference, (100 * low, 100 * high)

    def divergence(self, before: Path, after: Path) -> float:
        """Mean KL divergence of ``after``'s answers from ``before``'s, in nats.

        It shows differences that are too small to turn a label.
        """
        p = softmax(self.logits(before))
        q = softmax(self.logits(after))
        tiny = np.finfo(np.float64).tiny
        surprise = np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny))
        return float(np.mean(np.sum(p * surprise, axis=1)))

    def time(
        self, variants: Sequence[FloatBlocks], seconds: float, threads: int
    ) -> dict[FloatBlocks, latency.Samples]:
        """The time of one image, interleaved in this process."""
        shape = (1, self.spec.size, self.spec.size, 3)
        pixels = np.random.Generator(np.random.Philox(0)).integers(0, 256, shape, dtype=np.uint8)
        image = normalize(pixels, self.spec)
        names = {str(place): variant for place, variant in enumerate(dict.fromkeys(variants))}
        calls = {
            name: partial(load_model("onnxruntime", self.file(variant), threads=threads).run, image)
            for name, variant in names.items()
        }
        return {names[name]: row for name, row in latency.measure(calls, seconds).items()}

    def _operators_in(self, names: Collection[str]) -> set[str]:
        blocks = (block for block in self.blocks if block.name in names)
        return {operator.name for block in blocks for operator in block.operators}

    def _write(self, names: Collection[str], stem: str) -> Path:
        operators = self._operators_in(names)
        mixed = leave_float(self._int8, self._operators, operators, self._weights)
        return save(to_uint8(mixed), self._scratch / f"{stem}.onnx")

    @cached_property
    def _int8(self) -> onnx.ModelProto:
        return onnx.load(self._bundle / MODELS["int8.trt"])
