"""The result of a sensitivity analysis: typed, as sensitivity.json, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from compress.evaluate.gates import MAX_DROP_POINTS
from compress.quantize.blocks import BLOCKS
from export.bundle.files import MIXED, model_file
from export.sensitivity.front import Variant
from runtime.bench.latency import Ratio, Verdict

SCHEMA = 1
KIND = "clip2edge-sensitivity"


@dataclass(frozen=True)
class SensitivityOptions:
    """How closely to look: most blocks, held-out views, and each of the three timings."""

    blocks: int = BLOCKS
    images: int = 512
    seconds: float = 20.0
    threads: int = 1


@dataclass(frozen=True)
class BlockCost:
    """What int8 costs in a block; nothing here is a time.

    ``drop_points`` of top-1 are lost, and ``kl`` nats diverge, when this block alone is int8, or
    where no block is itself alone, when it joins all others in int8; ``regained_points`` are won
    when this block alone is float.
    """

    block: str
    paths: tuple[str, ...]  # its entries of quantize.float_blocks
    nodes: int
    drop_points: float
    drop_ci95: tuple[float, float]
    kl: float
    regained_points: float
    size_saved_bytes: int


@dataclass(frozen=True)
class BlockSensitivity(BlockCost):
    """Cost and gain of int8 in a block: time saved is negative where int8 is slower."""

    saved_ms: float
    saved_ci95_ms: tuple[float, float]
    kept: str = "int8"


@dataclass(frozen=True)
class Addition:
    """Whether the chosen variant was added to the bundle, and its file."""

    added: bool
    why: str
    file: str | None = None
    bytes: int | None = None
    parity: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SensitivityResult:
    """The analysis of one run on one machine.

    ``front`` is what one table shows: the unbeaten variants, int8, fp32 and the choice.
    """

    options: SensitivityOptions
    host: Mapping[str, Any]
    held_out: Mapping[str, int]  # pool -> number of its views
    blocks: tuple[BlockSensitivity, ...]
    front: tuple[Variant, ...]  # fastest first
    unbeaten: tuple[Variant, ...]
    chosen: Variant
    candidates: tuple[Variant, ...]  # every timed variant
    speedups: Mapping[str, Ratio]  # chosen_vs_int8, chosen_vs_fp32, int8_vs_fp32
    stamps: Mapping[str, Verdict]  # variant -> whether its timing may be quoted
    verdict: str
    alone: bool = True  # whether a block's cost is of that block alone in int8
    repeat: str | None = None  # the option that builds the choice; None for int8 and fp32
    float_already: tuple[str, ...] = ()  # blocks that the run left in float by its settings
    written: Addition | None = None  # where it was asked for

    @property
    def views(self) -> int:
        return sum(self.held_out.values())

    def to_json(self) -> dict[str, Any]:
        """sensitivity.json."""
        written = None if self.written is None else asdict(self.written)
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "options": asdict(self.options),
            "host": dict(self.host),
            "held_out": {"views": self.views, **self.held_out},
            "gate_points": MAX_DROP_POINTS,
            "blocks": [asdict(row) for row in self.blocks],
            "front": [{**asdict(v), "pareto": v in self.unbeaten} for v in self.front],
            "chosen": self.front.index(self.chosen),
            "candidates": [asdict(variant) for variant in self.candidates],
            "speedups": {name: ratio.to_json() for name, ratio in self.speedups.items()},
            "stamps": {name: asdict(stamp) for name, stamp in self.stamps.items()},
            "verdict": self.verdict,
            "alone": self.alone,
            "repeat": self.repeat,
            "float_already": list(self.float_already),
            "written": written and {k: v for k, v in written.items() if v is not None},
        }

    def lines(self) -> list[str]:
        """For a terminal: a row per block and per variant, the sentence, how to repeat it."""
        heads = f"{'operators':>9} {'int8 costs':>13} {'KL':>9} {'int8 saves':>12}   kept"
        out = [f"{'block':20} {heads}"]
        if not self.alone:
            out.insert(0, "Layers make up for those before: a block's cost is beside all in int8.")
        for row in self.blocks:
            low, high = row.saved_ci95_ms
            out.append(
                f"{row.block:20} {row.nodes:9} {row.drop_points:6.2f} points {row.kl:9.2g} "
                f"{row.saved_ms:9.4f} ms   {row.kept:4}   [{low:.4f}, {high:.4f}] ms"
            )
        out += ["", f"{'':2}{'in float':40} {'top-1':>7} {'lost':>7} {'p50':>11} {'file':>10}"]
        for variant in self.front:
            what = ", ".join(variant.float_blocks) or "nothing (int8)"
            if len(variant.float_blocks) == len(self.blocks):
                what = "all (fp32)"
            p50 = "not timed" if variant.p50_ms is None else f"{variant.p50_ms:.4g} ms"
            out.append(
                f"{'* ' if variant == self.chosen else '  '}{what:40} {variant.top1:7.1%} "
                f"{variant.drop_points:7.2f} {p50:>11} {variant.size_bytes / 1e6:7.2f} MB"
                f"{'' if variant in self.unbeaten else '   beaten by another'}"
            )
        accuracy = f"Accuracy: {self.views} new views of training images; no test image took part."
        out += ["", self.verdict, accuracy]
        if self.repeat:
            out.append(f"To build it so on purpose: {self.repeat}")
        if self.written is not None:
            state = "added" if self.written.added else "not added"
            out.append(f"{model_file(MIXED)} {state}: {self.written.why}")
        return out
