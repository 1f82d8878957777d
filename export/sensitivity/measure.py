"""Should I quantize? Cost and gain of int8 in each block of a finished run, and what to ship here.

1. Cost: each block alone in int8, everything else in float, against everything in float (points of
   top-1, KL). Where weights were rounded layer by layer, a layer makes up for those before it and
   is not itself alone: there the cost is what all in int8 wins when that block is in float.
2. Gain: each block alone in float against everything in int8, timed interleaved (ms, with an
   interval). A block that int8 slows down has a negative gain: no knowledge of the engine's
   kernels is needed.
3. Candidates: blocks leave int8 one after the other, by cost, by gain, and by cost per ms gained.
4. All candidates are timed together; the finalists are timed once more alone, and that decides.

Accuracy is counted on held-out views of training images (export/sensitivity/held_out.py) with the
files in the runtime that ships; it repeats bit by bit. Time belongs to this machine. Sentence and
files follow from both, so a build does not do this by itself: what ships must not depend on a
clock. ``quantize.float_blocks`` makes the choice repeatable.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from compress.engine.disk import require_folder
from compress.engine.runs import RunFolder, require_stages
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.evaluate.metrics import top1
from export.sensitivity.front import Variant, choose, nested, pareto, sentence
from export.sensitivity.held_out import held_out_views
from export.sensitivity.result import (
    BlockCost,
    BlockSensitivity,
    SensitivityOptions,
    SensitivityResult,
)
from export.sensitivity.variants import INT8, FloatBlocks, Variants
from runtime.bench import latency
from runtime.files.atomic import require_target
from runtime.host import telemetry

NEEDED = ("data", "generate", "label", "distill", "quantize", "export")
MAX_CANDIDATES = 24  # timed variants with more than one block in float
FINALISTS = 4  # of the fastest and of the front, timed once more beside int8 and fp32
RESAMPLES = 2000
MIN_COST = 1e-6  # nats: a block that costs less counts as free when its cost is divided by its gain

Times = Mapping[FloatBlocks, latency.Samples]


def run(
    ctx: StageContext, options: SensitivityOptions, *, write: bool = False
) -> SensitivityResult:
    """Writes sensitivity.json into the folder of a finished run and returns its content.

    Args:
        write: add the choice to the run's bundle if it beats int8 and fp32 beyond the noise.

    Raises:
        ConfigError: the run is not finished.
        ExportError: its int8 file is not the one of its student.
        ParityError: with ``write``, a variant that does not compute what its torch model does.
    """
    require_stages(ctx, *NEEDED)
    folder = RunFolder(ctx.folder)
    require_target(folder.sensitivity)
    if write:
        require_folder(folder.bundle)
    views = held_out_views(ctx, options.images)
    with tempfile.TemporaryDirectory() as scratch:
        variants = Variants(ctx, views, Path(scratch), options.blocks)
        basic = [INT8, variants.fp32, *(frozenset({block.name}) for block in variants.blocks)]
        costs = block_costs(ctx, variants)
        times = _timed(ctx, variants, basic, options, "time per block")
        blocks = [
            with_gain(cost, times[INT8], times[frozenset({cost.block})], ctx.seed) for cost in costs
        ]
        sets = list(dict.fromkeys([*basic, *greedy(blocks)]))
        with ctx.progress.task("accuracy of variants", total=len(sets), unit="variant") as task:
            for names in sets:
                variants.logits(variants.file(names))
                task.advance()
        times = _timed(ctx, variants, sets, options, "time of variants")
        candidates = [measured(variants, names, times) for names in sets]
        final = finalists(candidates, sets, variants.fp32)
        times = _timed(ctx, variants, final, options, "time of finalists")
        closing = [measured(variants, names, times) for names in final]
        chosen = choose(closing, lambda a, b: slower(times[final[a]], times[final[b]], ctx.seed))
        result = _result(ctx, variants, options, blocks, candidates, closing, final, chosen, times)
        if write:
            from export.sensitivity.add import add_mixed

            result = replace(result, written=add_mixed(ctx, variants, final[chosen], result))
    write_json(folder.sensitivity, result.to_json())
    return result


def block_costs(ctx: StageContext, variants: Variants) -> list[BlockCost]:
    """Size of each block and what int8 costs there."""
    costs = []
    int8 = variants.file(INT8)
    with ctx.progress.task("accuracy per block", total=len(variants.blocks), unit="block") as task:
        for block in variants.blocks:
            without = variants.file(frozenset({block.name}))
            regained, _ = variants.drop(without, int8)
            if variants.alone:
                before, after = variants.unrounded, variants.file(variants.fp32 - {block.name})
                kl = variants.divergence(before, after)
            else:
                before, after = without, int8
                kl = variants.divergence(variants.unrounded, after)
                kl -= variants.divergence(variants.unrounded, before)
            drop, interval = variants.drop(before, after)
            saved = without.stat().st_size - int8.stat().st_size
            about = (block.name, block.paths, len(block.operators))
            costs.append(BlockCost(*about, drop, interval, kl, regained, size_saved_bytes=saved))
            task.advance()
    return costs


def with_gain(
    cost: BlockCost, int8: latency.Samples, without: latency.Samples, seed: int
) -> BlockSensitivity:
    """The cost with what int8 saves: ms with that block in float, minus all in int8."""
    saved = (without.percentile_ms(50.0) or 0) - (int8.percentile_ms(50.0) or 0)
    interval = difference_ms(without, int8, seed)
    return BlockSensitivity(**asdict(cost), saved_ms=float(saved), saved_ci95_ms=interval)


def greedy(blocks: Sequence[BlockSensitivity]) -> list[FloatBlocks]:
    """Variants in the order in which blocks are worth leaving int8.

    Where it costs most, where it gains least, and where its cost per ms gained is highest (blocks
    that it slows down first).
    """

    def worth(row: BlockSensitivity) -> tuple[int, float]:
        if row.saved_ms <= 0:
            return 0, row.saved_ms
        return 1, -max(row.kl, MIN_COST) / row.saved_ms

    orders = (worth, lambda row: row.saved_ms, lambda row: -row.kl)
    chains = [nested([row.block for row in sorted(blocks, key=order)]) for order in orders]
    steps = (frozenset(names) for step in zip(*chains, strict=True) for names in step)
    return list(dict.fromkeys(names for names in steps if len(names) > 1))[:MAX_CANDIDATES]


def difference_ms(slow: latency.Samples, fast: latency.Samples, seed: int) -> tuple[float, float]:
    """95 % interval of p50(slow) - p50(fast) in ms, bootstrapped over whole rounds."""
    rounds = min(len(slow.ns), len(fast.ns))
    draws = np.random.Generator(np.random.Philox(seed)).integers(0, rounds, (RESAMPLES, rounds))
    gaps = [np.median(slow.ns[draw]) - np.median(fast.ns[draw]) for draw in draws]
    low, high = np.percentile(gaps, [2.5, 97.5]) / 1e6
    return float(low), float(high)


def slower(a: latency.Samples, b: latency.Samples, seed: int) -> bool:
    """Whether the whole interval of a's time over b's is above 1."""
    return latency.ratio(a, b, seed=seed).ci95[0] > 1.0


def measured(variants: Variants, names: FloatBlocks, times: Times) -> Variant:
    """A variant with its accuracy, time and size."""
    file = variants.file(names)
    drop, _ = variants.drop(variants.file(variants.fp32), file)
    p50 = times[names].percentile_ms(50.0)
    right = top1(variants.logits(file), variants.views.labels)
    return Variant(variants.ordered(names), right, drop, p50, file.stat().st_size)


def finalists(
    candidates: Sequence[Variant], sets: Sequence[FloatBlocks], fp32: FloatBlocks
) -> list[FloatBlocks]:
    """int8, fp32, the fastest variants that may ship, and the front: what one table shows."""
    passing = (i for i, variant in enumerate(candidates) if variant.passes)
    fastest = sorted(passing, key=lambda i: candidates[i].time_ms)
    out = [INT8, fp32]
    for order in (fastest, pareto(candidates)):
        out += [sets[i] for i in order if sets[i] not in (INT8, fp32)][:FINALISTS]
    return list(dict.fromkeys(out))


def _timed(
    ctx: StageContext,
    variants: Variants,
    sets: Sequence[FloatBlocks],
    options: SensitivityOptions,
    what: str,
) -> Times:
    with ctx.progress.task(what, total=1, unit="series") as task:
        times = variants.time(sets, options.seconds, options.threads)
        task.advance()
    return times


def _result(
    ctx: StageContext,
    variants: Variants,
    options: SensitivityOptions,
    blocks: Sequence[BlockSensitivity],
    candidates: Sequence[Variant],
    closing: Sequence[Variant],
    final: Sequence[FloatBlocks],
    chosen: int,
    times: Times,
) -> SensitivityResult:
    """The result; its front is of the finalists, so one timing decides what one table shows."""
    int8, fp32, *_ = closing
    best = closing[chosen]
    names = final[chosen]
    already = list(ctx.settings.quantize.float_blocks)
    unbeaten = tuple(closing[i] for i in pareto(closing))
    # int8 and fp32 as landmarks, and the choice, which may be a tie that one of them wins
    front = {variant.float_blocks: variant for variant in (*unbeaten, int8, fp32, best)}
    stamps = {
        "+".join(variants.ordered(key)) or "int8": latency.verdict(samples)
        for key, samples in times.items()
    }
    verdict = sentence([block.name for block in variants.blocks], best, int8, fp32)
    if already:
        verdict += f" {', '.join(already)} stayed in float already (quantize.float_blocks)."
    disturbed = sorted({stamp.stamp for stamp in stamps.values()} - {"VALID"})
    if disturbed:
        stamped = f"The machine was disturbed during the timing ({', '.join(disturbed)})"
        verdict += f" {stamped}: repeat it before you rely on it."
    setting = json.dumps(already + variants.paths(names))
    kept = [replace(r, kept="fp32" if r.block in best.float_blocks else "int8") for r in blocks]
    return SensitivityResult(
        options,
        telemetry.host().to_json(),
        variants.views.counts,
        tuple(kept),
        tuple(sorted(front.values(), key=lambda variant: (variant.time_ms, variant.drop_points))),
        unbeaten,
        best,
        tuple({v.float_blocks: v for v in (*candidates, *closing)}.values()),
        speedups={
            f"{a}_vs_{b}": latency.ratio(times[y], times[x], seed=ctx.seed)
            for a, x in (("chosen", names), ("int8", INT8))
            for b, y in (("int8", INT8), ("fp32", variants.fp32))
            if x != y
        },
        stamps=stamps,
        verdict=verdict,
        alone=variants.alone,
        repeat=f"--set 'quantize.float_blocks={setting}'" if INT8 < names < variants.fp32 else None,
        float_already=tuple(already),
    )
