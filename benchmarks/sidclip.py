"""The ladder of SIDCLIP on the embedded world: the worth of each component at 1, 4 and 8 shots.

    python -m benchmarks.sidclip                            # 5 seeds each, about an hour on 2 cores
    python -m benchmarks.sidclip --shots 1 8 --seeds 5 2    # 5 seeds at 1 shot, 2 at 8

Rungs: ``fine-tune`` trains a generically pretrained student on the shots; ``+D`` adds the teacher's
targets; ``+I+D`` starts from the small CLIP; ``+I+D+S`` adds synthetic images; ``int8`` is the
exported file after quantization-aware training. ``probe`` is the teacher. Every rung has the same
number of updates and the same batch. Accuracy is that of the exported file in the runtime, on the
test split. Finished stages are kept in the work folder, so an interrupted run resumes.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import ladder, page
from benchmarks.ladder import BENCHED, Cell, Hits, measure_bench, shot, table
from compress.api import settings_for, work_folder
from compress.engine.config import merge
from compress.papers.cells import measure_cell
from compress.papers.statistics import PairedGain, claim_line

#: the paper's method, not the recipe that is the default
PLAIN = {
    "generate": {"strategy": "sidclip", "probing": {"candidates": []}},
    "distill": {"objective": "kd"},
}
NO_SYNTHETIC = {"generate": {"per_class": 0}}
RUNGS: dict[str, dict[str, Any]] = {
    "fine-tune": {
        **NO_SYNTHETIC,
        "distill": {"init": "generic", "objective": "ce", "freeze_batch_norm": False},
    },
    "+D": {**NO_SYNTHETIC, "distill": {"init": "generic", "freeze_batch_norm": False}},
    "+I+D": NO_SYNTHETIC,
    "+I+D+S": {"bench": {"seconds": 1}},
}


def cell(seed: int, shots: int, work: Path) -> Cell:
    """Hits of every rung, of the teacher and of both exported files, for one seed."""
    hits: Cell = {}
    for rung, overrides in RUNGS.items():
        settings = settings_for("petals", shots=shots, seed=seed, overrides=merge(PLAIN, overrides))
        name = f"sidclip-{rung}-{shots}shot-s{seed}"
        if rung != "+I+D+S":
            hits[rung] = measure_cell(settings, work, name)
        else:
            hits |= measure_bench(settings, work, name, {"+I+D+S": "student_fp32", **BENCHED})
    return hits


COLUMNS = ("zero-shot", "fine-tune", "+D", "+I+D", "+I+D+S", "int8", "PTQ", "probe")


def checks(hits: Hits) -> list[str]:
    """The paper's claims as signs, each with its verdict, also those that fail."""
    shots = sorted({k for _, k in hits})
    low = shots[0]
    high = shots[-1]
    out: list[str] = []

    seeds = Counter(k for _, k in hits)

    def say(claim: str, p: PairedGain, figures: str) -> None:
        out.append(claim_line(p.verdict, claim, figures))

    for better, worse in (("probe", "+I+D+S"), ("+I+D+S", "+I+D"), ("+I+D", "fine-tune")):
        out.append(ladder.sign_claim(hits, better, worse, low))
    for k in shots:
        p = ladder.paired(hits, "+D", "fine-tune", k)
        figures = f"{p.gain:+.1f} {p.within} points, seeds {list(p.per_seed)}"
        say(f"+D > fine-tune at {shot(k)}", p, figures)
        out.append(ladder.int8_claim(hits, "+I+D+S", k))
        r = ladder.paired(hits, "int8", "PTQ", k)
        say(f"QAT is better than static PTQ at {shot(k)}", r, f"{r.gain:+.2f} {r.within}")
    if high > low:
        note = f"; {seeds[low]} and {seeds[high]} seeds"
        out.append(ladder.shrink_claim(hits, "+I+D+S", "+I+D", low, high, note))
    for k, limit in ((1, 6.0), (4, 4.0)):
        if k in shots:
            gap = ladder.mean(hits, "probe", k) - ladder.mean(hits, "int8", k)
            claim = f"int8 within {limit:g} points of the probe at {shot(k)}"
            out.append(
                claim_line(ladder.threshold(gap <= limit), claim, f"{gap:.1f}; {seeds[k]} seeds")
            )
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = page.options("sidclip", __doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[5, 5, 5], help="how many, for each number of shots"
    )
    parser.add_argument("--work-dir", default=None)
    options = parser.parse_args(arguments)
    work = work_folder(options.work_dir)
    hits = {}
    start = time.perf_counter()
    for shots, seeds in zip(options.shots, options.seeds, strict=True):
        for seed in range(seeds):
            hits[seed, shots] = cell(seed, shots, work)
            print(table(hits, COLUMNS), flush=True)
    shots, seeds = (" ".join(map(str, values)) for values in (options.shots, options.seeds))
    minutes = (time.perf_counter() - start) / 60
    text = f"""# The ladder of SIDCLIP on `petals`

`python -m benchmarks.sidclip --shots {shots} --seeds {seeds}`

Top-1 in % on the test split ({ladder.image_count(hits)} images of held-out species), mean ±
standard deviation over seeds, measured with the exported ONNX file in the runtime. Replica with
inferred settings: the paper does not state its loss weights, temperature or optimizer, and this
is the embedded miniature world, not its data.

{table(hits, COLUMNS)}

{chr(10).join(checks(hits))}

Made in {minutes:.0f} minutes on {platform.machine()}, {page.library_versions()}. Work that was
already in the work folder was not done again.
"""
    page.write(options.out, text)


if __name__ == "__main__":
    main()
