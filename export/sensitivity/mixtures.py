"""Every mixture of int8 and float blocks of one finished run: its file, its accuracy on held-out
views, its time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from compress.distill.artifact import DistillArtifact
from compress.engine.errors import ExportError
from compress.engine.stage import StageContext
from compress.evaluate.comparison import paired
from compress.evaluate.metrics import softmax, top1
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.blocks import BLOCKS, Block, blocks_of, operators_of
from compress.quantize.graph import PreparedStudent, load_prepared
from compress.quantize.scales import set_observers
from export.bundle.write import MODELS
from export.onnx.convert import save
from export.onnx.float_blocks import float_weights, leave_float, left_float
from export.onnx.qdq import to_uint8
from export.sensitivity.held_out import HeldOut
from runtime import PreprocessSpec, normalize
from runtime.backends import load as load_model
from runtime.bench import latency
from runtime.host import telemetry

Logits = NDArray[np.float32]
BATCH = 32

INT8: frozenset[str] = frozenset()
"""The mixture without a float block: the bundle's int8 file."""


class Mixtures:
    """Mixtures by the set of their float blocks; each file is made once and each is run on the
    views once.

    The full set means the bundle's fp32 file; ``unrounded`` is the student of the quantize stage
    with every quantizer taken out, whose weights may have moved in training.

    Args:
        ctx: a finished run.
        views: what accuracy is counted on.
        scratch: an existing folder for the files.
    """

    def __init__(
        self, ctx: StageContext, views: HeldOut, scratch: Path, limit: int = BLOCKS
    ) -> None:
        self.views, self._scratch, self._progress = views, scratch, ctx.progress
        self._bundle = ctx.inputs["export"].path / "bundle"
        student = DistillArtifact(ctx.inputs["distill"].path).student()
        self.spec: PreprocessSpec = student.spec.preprocess(ctx.settings.image)
        quantized = QuantizeArtifact(ctx.inputs["quantize"].path)
        self.prepared: PreparedStudent = load_prepared(student, quantized)
        set_observers(self.prepared, observe=False, quantize=True)
        self._operators = operators_of(self.prepared.graph)
        self.blocks: list[Block] = blocks_of(self._operators, limit) if self._operators else []
        if len(self.blocks) < 2:
            raise ExportError(
                "nothing can be mixed",
                got=f"{len(self.blocks)} blocks in int8",
                expected="at least 2",
                remedy="choose a student with more int8 operators, or fewer quantize.float_blocks",
            )
        self._weights = float_weights(self.prepared, self._operators)
        self._files: dict[frozenset[str], Path] = {
            INT8: self._bundle / MODELS["int8"],
            self.all: self._bundle / MODELS["fp32"],
        }
        self._logits: dict[Path, Logits] = {}

    @property
    def all(self) -> frozenset[str]:
        """The mixture in which every block is float: fp32."""
        return frozenset(block.name for block in self.blocks)

    def ordered(self, names: Collection[str]) -> tuple[str, ...]:
        """Block names in the order of the network."""
        return tuple(block.name for block in self.blocks if block.name in names)

    def paths(self, names: Collection[str]) -> list[str]:
        """What ``quantize.float_blocks`` has to name for these blocks."""
        return [path for block in self.blocks if block.name in names for path in block.paths]

    def file(self, names: frozenset[str]) -> Path:
        """The file for onnxruntime in which the blocks ``names`` are float."""
        if names not in self._files:
            number = sum(
                1 << place for place, block in enumerate(self.blocks) if block.name in names
            )
            self._files[names] = self._made(self.operators(names), f"{number:x}")
        return self._files[names]

    @cached_property
    def unrounded(self) -> Path:
        """The file without any quantizer, with the weights of the quantize stage."""
        return self._made(self.operators(self.all), "unrounded")

    def operators(self, names: Collection[str]) -> set[str]:
        """Names of the operators in these blocks."""
        return {
            operator.name
            for block in self.blocks
            if block.name in names
            for operator in block.operators
        }

    def reference(self, names: Collection[str]) -> PreparedStudent:
        """The torch model that ``file(names)`` has to agree with."""
        return left_float(self.prepared, self.operators(names))

    def logits(self, file: Path) -> Logits:
        """Logits ``(n, K)`` of a file on the held-out views."""
        if file not in self._logits:
            self._logits[file] = self.logits_on(file, self.views.pixels)
        return self._logits[file]

    def logits_on(self, file: Path, pixels: NDArray[np.uint8]) -> Logits:
        """Logits ``(n, K)`` of a file on pixels ``(n, S, S, 3)``."""
        runner = load_model("onnxruntime", file, threads=telemetry.usable_cores())
        parts = [
            runner.run(normalize(np.asarray(pixels[at : at + BATCH]), self.spec))
            for at in range(0, len(pixels), BATCH)
        ]
        return np.concatenate(parts)

    def top1(self, file: Path) -> float:
        """Share of the held-out views with the right class."""
        return top1(self.logits(file), self.views.labels)

    def drop(self, before: Path, after: Path, seed: int) -> tuple[float, tuple[float, float]]:
        """Points of top-1 that ``after`` loses against ``before``, and the paired 95 % interval."""
        found = paired(self.logits(before), self.logits(after), self.views.labels, seed=seed)
        low, high = found.ci95
        return 100 * found.difference, (100 * low, 100 * high)

    def divergence(self, before: Path, after: Path) -> float:
        """Mean KL divergence of ``after``'s answers from ``before``'s, in nats: differences too
        small to turn a label.
        """
        p, q = softmax(self.logits(before)), softmax(self.logits(after))
        tiny = np.finfo(np.float64).tiny
        return float(
            np.mean(np.sum(p * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny))), axis=1))
        )

    def time(
        self, mixtures: Sequence[frozenset[str]], seconds: float, threads: int
    ) -> dict[frozenset[str], latency.Samples]:
        """The time of one image, interleaved in this process."""
        pixels = np.random.Generator(np.random.Philox(0)).integers(
            0, 256, (1, self.spec.size, self.spec.size, 3), dtype=np.uint8
        )
        image = normalize(pixels, self.spec)
        names = {str(place): mixture for place, mixture in enumerate(dict.fromkeys(mixtures))}
        calls = {
            name: partial(load_model("onnxruntime", self.file(mixture), threads=threads).run, image)
            for name, mixture in names.items()
        }
        measured: Mapping[str, latency.Samples] = latency.measure(calls, seconds)
        return {names[name]: samples for name, samples in measured.items()}

    def _made(self, operators: Collection[str], name: str) -> Path:
        mixed = leave_float(self._int8, self._operators, operators, self._weights)
        return save(to_uint8(mixed), self._scratch / f"{name}.onnx")

    @cached_property
    def _int8(self) -> onnx.ModelProto:
        return onnx.load(self._bundle / MODELS["int8.trt"])
