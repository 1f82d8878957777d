"""Should I quantize? What int8 costs and saves in each block of a finished run, and the mixture to
ship here.

1. Cost: each block alone in int8, everything else in float, against everything in float (points of
    top-1, KL).
2. Gain: each block alone in float against everything in int8, timed interleaved (ms, with an
    interval). A block that
   int8 slows down has a negative gain: nothing has to be known about the engine's kernels.
3. Candidates: blocks leave int8 one after the other, by cost, by gain, and by cost per ms gained.
4. All candidates are timed together; those that could win are timed once more alone, and that
decides.

Accuracy is counted on held-out views of training images (export/sensitivity/held_out.py) with the
files in the runtime that ships; it repeats bit by bit. Time belongs to this machine. The sentence
and the files follow from both, so a build
does not do this by itself: what ships must not depend on a clock. ``quantize.float_blocks`` makes
    the choice repeatable.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.engine.runs import require_stages
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.evaluate.gates import MAX_DROP_POINTS
from compress.quantize.blocks import BLOCKS
from export.sensitivity.front import Candidate, choose, nested, pareto, verdict
from export.sensitivity.held_out import held_out_views
from export.sensitivity.mixtures import INT8, Mixtures
from runtime.bench import latency
from runtime.host import telemetry

FILE = "sensitivity.json"
NEEDED = ("data", "generate", "label", "distill", "quantize", "export")
MAX_CANDIDATES = 24  # mixtures of more than one block that are timed
FINALISTS = (
    4  # mixtures, of the fastest and of the front, that are timed once more beside int8 and fp32
)
RESAMPLES = 2000
MIN_COST = 1e-6  # nats: a block that costs less counts as free when its cost is divided by its gain

Times = Mapping[frozenset[str], latency.Samples]


@dataclass(frozen=True)
class Options:
    """How closely to look.

    Attributes:
        blocks: most blocks.
        images: held-out views.
        seconds: of each of the three timings.
        threads: of the engine while timing.
    """

    blocks: int = BLOCKS
    images: int = 512
    seconds: float = 20.0
    threads: int = 1


def run(ctx: StageContext, options: Options, *, write: bool = False) -> dict[str, Any]:
    """Writes sensitivity.json into the run's folder and returns it.

    Args:
        ctx: a finished run (compress.engine.runs.open_run).
        write: add the mixture to the run's bundle if it beats int8 and fp32 beyond the noise.

    Raises:
        ConfigError: the run is not finished. ExportError: its int8 file is not the one of its
            student.
        ParityError: with ``write``, a mixture that does not compute what its torch model does.
    """
    require_stages(ctx, *NEEDED)
    views = held_out_views(ctx, options.images)
    with tempfile.TemporaryDirectory() as scratch:
        mixtures = Mixtures(ctx, views, Path(scratch), options.blocks)
        blocks = block_costs(ctx, mixtures)
        times = _timed(
            ctx, mixtures, [INT8, mixtures.all, *singles(mixtures)], options, "time per block"
        )
        for row in blocks:
            row.update(gain(times[INT8], times[frozenset({row["block"]})], ctx.seed))
        sets = list(dict.fromkeys([INT8, mixtures.all, *singles(mixtures), *greedy(blocks)]))
        _accuracy(ctx, mixtures, sets)
        times = _timed(ctx, mixtures, sets, options, "time of mixtures")
        points = [candidate(mixtures, names, times, ctx.seed) for names in sets]
        final = finalists(points, sets, mixtures.all)
        last = _timed(ctx, mixtures, final, options, "time of finalists")
        closing = [candidate(mixtures, names, last, ctx.seed) for names in final]
        chosen = choose(closing, lambda a, b: slower(last[final[a]], last[final[b]], ctx.seed))
        names = final[chosen]
        result = _result(ctx, mixtures, options, blocks, points, closing, chosen, last, final)
        if write:
            from export.sensitivity.add import add_mixed

            result["written"] = add_mixed(ctx, mixtures, names, result)
    write_json(ctx.folder / FILE, result)
    return result


def block_costs(ctx: StageContext, mixtures: Mixtures) -> list[dict[str, Any]]:
    """Per block: its size, and what int8 costs there; nothing that is measured in time."""
    rows = []
    with ctx.progress.task("accuracy per block", total=len(mixtures.blocks), unit="block") as task:
        for block in mixtures.blocks:
            alone, without = (
                mixtures.file(mixtures.all - {block.name}),
                mixtures.file(frozenset({block.name})),
            )
            drop, interval = mixtures.drop(mixtures.unrounded, alone, ctx.seed)
            regained, _ = mixtures.drop(without, mixtures.file(INT8), ctx.seed)
            rows.append(
                {
                    "block": block.name,
                    "paths": list(block.paths),
                    "nodes": len(block.operators),
                    "drop_points": drop,
                    "drop_ci95": list(interval),
                    "kl": mixtures.divergence(mixtures.unrounded, alone),
                    "regained_points": regained,
                    "size_saved_bytes": _size(mixtures, block.name),
                }
            )
            task.advance()
    return rows


def _size(mixtures: Mixtures, name: str) -> int:
    return mixtures.file(frozenset({name})).stat().st_size - mixtures.file(INT8).stat().st_size


def singles(mixtures: Mixtures) -> list[frozenset[str]]:
    """Everything in int8 but one block."""
    return [frozenset({block.name}) for block in mixtures.blocks]


def greedy(blocks: Sequence[Mapping[str, Any]]) -> list[frozenset[str]]:
    """Mixtures in the order in which blocks are worth leaving int8: where it costs most, where it
    gains least, and where its cost per ms gained is highest (blocks that it slows down first).
    """

    def worth(row: Mapping[str, Any]) -> tuple[int, float]:
        if row["saved_ms"] <= 0:
            return 0, row["saved_ms"]
        return 1, -max(row["kl"], MIN_COST) / row["saved_ms"]

    orders = [
        sorted(blocks, key=worth),
        sorted(blocks, key=lambda row: row["saved_ms"]),
        sorted(blocks, key=lambda row: -row["kl"]),
    ]
    chains = [nested([row["block"] for row in order]) for order in orders]
    found = [
        frozenset(names) for step in zip(*chains, strict=True) for names in step if len(names) > 1
    ]
    return list(dict.fromkeys(found))[:MAX_CANDIDATES]


def gain(int8: latency.Samples, without: latency.Samples, seed: int) -> dict[str, Any]:
    """What int8 saves in a block: ms of the model with that block in float, minus all in int8, with
    its interval.
    """
    low, high = difference_ms(without, int8, seed)
    a, b = without.percentile_ms(50.0), int8.percentile_ms(50.0)
    return {"saved_ms": float(a or 0) - float(b or 0), "saved_ci95_ms": [low, high]}


def difference_ms(slow: latency.Samples, fast: latency.Samples, seed: int) -> tuple[float, float]:
    """95 % interval of p50(slow) - p50(fast) in ms, bootstrapped over whole rounds as
    ``latency.ratio`` is.
    """
    rounds = min(len(slow.ns), len(fast.ns))
    draws = np.random.Generator(np.random.Philox(seed)).integers(0, rounds, (RESAMPLES, rounds))
    medians = [
        np.array([np.median(samples.ns[draw]) for draw in draws]) for samples in (slow, fast)
    ]
    low, high = np.percentile(medians[0] - medians[1], [2.5, 97.5]) / 1e6
    return float(low), float(high)


def slower(a: latency.Samples, b: latency.Samples, seed: int) -> bool:
    """Whether ``a`` is slower than ``b`` by more than the noise: the whole interval of their ratio
    is above 1.
    """
    return latency.ratio(a, b, seed=seed).ci95[0] > 1.0


def candidate(mixtures: Mixtures, names: frozenset[str], times: Times, seed: int) -> Candidate:
    """A mixture with everything that is known of it."""
    file = mixtures.file(names)
    drop, _ = mixtures.drop(mixtures.file(mixtures.all), file, seed)
    p50 = times[names].percentile_ms(50.0)
    return Candidate(mixtures.ordered(names), mixtures.top1(file), drop, p50, file.stat().st_size)


def finalists(
    points: Sequence[Candidate], sets: Sequence[frozenset[str]], fp32: frozenset[str]
) -> list[frozenset[str]]:
    """int8, fp32, the fastest mixtures that may ship, and the front: all that one table will show
    beside each other.
    """
    able = sorted(
        (i for i in range(len(points)) if points[i].passes),
        key=lambda i: points[i].p50_ms or float("inf"),
    )
    mixed = [
        [sets[i] for i in order if sets[i] not in (INT8, fp32)] for order in (able, pareto(points))
    ]
    return list(dict.fromkeys([INT8, fp32, *mixed[0][:FINALISTS], *mixed[1][:FINALISTS]]))


def _timed(
    ctx: StageContext,
    mixtures: Mixtures,
    sets: Sequence[frozenset[str]],
    options: Options,
    what: str,
) -> Times:
    with ctx.progress.task(what, total=1, unit="series") as task:
        times = mixtures.time(sets, options.seconds, options.threads)
        task.advance()
    return times


def _accuracy(ctx: StageContext, mixtures: Mixtures, sets: Sequence[frozenset[str]]) -> None:
    """Runs every mixture on the views, so that what follows only looks results up."""
    with ctx.progress.task("accuracy of mixtures", total=len(sets), unit="mixture") as task:
        for names in sets:
            mixtures.logits(mixtures.file(names))
            task.advance()


def _result(
    ctx: StageContext,
    mixtures: Mixtures,
    options: Options,
    blocks: list[dict[str, Any]],
    points: list[Candidate],
    closing: list[Candidate],
    chosen: int,
    times: Times,
    final: Sequence[frozenset[str]],
) -> dict[str, Any]:
    """sensitivity.json; its front is of the finalists, so that one timing decides what one table
    shows.
    """
    best = closing[chosen]
    beaten_by_none = [closing[i] for i in pareto(closing)]
    # the pure ones as landmarks, and the choice, which may be a tie that a pure one wins
    front = sorted(
        {point.float_blocks: point for point in (*beaten_by_none, *closing[:2], best)}.values(),
        key=lambda point: (point.p50_ms or float("inf"), point.drop_points),
    )
    for row in blocks:
        row["kept"] = "fp32" if row["block"] in best.float_blocks else "int8"
    int8, fp32, already = closing[0], closing[1], list(ctx.settings.quantize.float_blocks)
    mixed = INT8 < final[chosen] < mixtures.all
    stamps = {
        "+".join(mixtures.ordered(names)) or "int8": asdict(latency.verdict(samples))
        for names, samples in times.items()
    }
    disturbed = sorted({row["stamp"] for row in stamps.values()} - {"VALID"})
    told = verdict([block.name for block in mixtures.blocks], best, int8, fp32)
    if already:
        told += f" {', '.join(already)} stayed in float already (quantize.float_blocks)."
    if disturbed:
        told += (
            f" The machine was disturbed while this was timed ({', '.join(disturbed)}): "
            "repeat it before you rely on it."
        )
    return {
        "schema": 1,
        "kind": "clip2edge-sensitivity",
        "options": asdict(options),
        "host": telemetry.host().to_json(),
        "held_out": {"views": len(mixtures.views.labels), **mixtures.views.counts},
        "gate_points": MAX_DROP_POINTS,
        "blocks": blocks,
        "front": [{**asdict(point), "pareto": point in beaten_by_none} for point in front],
        "chosen": front.index(best),
        "candidates": [
            asdict(point) for point in {p.float_blocks: p for p in (*points, *closing)}.values()
        ],
        "speedups": {
            f"{a}_vs_{b}": latency.ratio(times[y], times[x], seed=ctx.seed).to_json()
            for a, x in (("chosen", final[chosen]), ("int8", INT8))
            for b, y in (("int8", INT8), ("fp32", mixtures.all))
            if x != y
        },
        "stamps": stamps,
        "verdict": told,
        "repeat": "--set "
        f"'quantize.float_blocks={json.dumps(already + mixtures.paths(final[chosen]))}'"
        if mixed
        else None,
        "float_already": already,
        "written": None,
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """The result for a terminal: a row per block, a row per mixture of the front, the sentence, how
    to repeat it.
    """
    out = [f"{'block':20} {'operators':>9} {'int8 costs':>13} {'KL':>9} {'int8 saves':>12}   kept"]
    for row in result["blocks"]:
        low, high = row["saved_ci95_ms"]
        out.append(
            f"{row['block']:20} {row['nodes']:9} {row['drop_points']:6.2f} points {row['kl']:9.2g} "
            f"{row['saved_ms']:9.4f} ms   {row['kept']:4}   [{low:.4f}, {high:.4f}] ms"
        )
    out += ["", f"{'':2}{'in float':40} {'top-1':>7} {'lost':>7} {'p50':>11} {'file':>10}"]
    for place, point in enumerate(result["front"]):
        names = point["float_blocks"]
        what = (
            "nothing (int8)"
            if not names
            else "all (fp32)"
            if len(names) == len(result["blocks"])
            else ", ".join(names)
        )
        p50 = "not timed" if point["p50_ms"] is None else f"{point['p50_ms']:.4g} ms"
        out.append(
            f"{'* ' if place == result['chosen'] else '  '}{what:40} {point['top1']:7.1%} "
            f"{point['drop_points']:7.2f} "
            f"{p50:>11} {point['size_bytes'] / 1e6:7.2f} "
            f"MB{'' if point['pareto'] else '   beaten by another'}"
        )
    views = result["held_out"]["views"]
    out += [
        "",
        result["verdict"],
        f"Accuracy: {views} new views of training images; no test image took part.",
    ]
    if result["repeat"]:
        out.append(f"To build it so on purpose: {result['repeat']}")
    if result["written"] is not None:
        added = result["written"]
        out.append(f"model.mixed.onnx {'added' if added['added'] else 'not added'}: {added['why']}")
    return out
