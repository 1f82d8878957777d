"""Claim: generating the teacher's feature teaches a student more than regressing it (GenDD).

    python -m benchmarks.gendd                          # 5 seeds, about 5 minutes on one core
    python -m benchmarks.gendd --seeds 2 --validation   # on training pictures kept apart, on which
                                                        # the settings were chosen

Cached features of the embedded teacher only; ``results/gendd.md`` explains the rows and readouts.
Every row of a seed has the same batches, noise and number of updates, so differences are paired.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks import page
from benchmarks.gendd_students import (
    BATCH,
    DENOISER,
    FLOWERS,
    NOISE,
    READOUTS,
    SEEN,
    SHOTS,
    STEPS,
    TEACHER,
    TEST,
    VALIDATION_FROM,
    WORLDS,
    Accuracies,
    embed,
    measure,
)
from compress.papers.statistics import claim_line, mean_and_deviation, t95

MARGIN = 2.0  # points within which two readouts count as equal
L = "labeled"
U = "unlabeled"
S0 = "GenDD, s=0"
S9 = "GenDD, s=0.9"
S1 = "GenDD, s=1"
WHOLE_4X = "GenDD, s=0, whole, 4 x repeats"
R0 = "regression, s=0"
R9 = "regression, s=0.9"
ONE = "1 sample"
FIVE = "5 samples"
#: claim, world, (row, readout) that should be better, the one it should be better than
GREATER: tuple[tuple[str, str, tuple[str, str], tuple[str, str]], ...] = (
    (
        "split > whole at s=0, as many repeats: probe",
        L,
        (S0, "probe"),
        ("GenDD, s=0, whole", "probe"),
    ),
    ("split > whole at s=0, as many denoised rows: probe", L, (S0, "probe"), (WHOLE_4X, "probe")),
    ("split > whole at s=0, as many denoised rows: 5 samples", L, (S0, FIVE), (WHOLE_4X, FIVE)),
    ("s=0.9 > s=0: probe", L, (S9, "probe"), (S0, "probe")),
    ("s=0.9 > s=0: 5 samples", L, (S9, FIVE), (S0, FIVE)),
    ("s=0.9 > s=1: probe", L, (S9, "probe"), (S1, "probe")),
    ("5 samples > 1 sample at s=0", L, (S0, FIVE), (S0, ONE)),
    ("5 samples > 1 sample at s=0.9", L, (S9, FIVE), (S9, ONE)),
    ("GenDD at s=0.9 > KL + CE", L, (S9, "probe"), ("KL + CE", "probe")),
    ("GenDD > regression at s=0: probes", L, (S0, "probe"), (R0, "probe")),
    ("GenDD > regression at s=0.9: probes", L, (S9, "probe"), (R9, "probe")),
    ("GenDD > regression at s=0: teacher's head", L, (S0, FIVE), (R0, "projected")),
    ("GenDD > regression at s=0.9: teacher's head", L, (S9, FIVE), (R9, "projected")),
    ("regression: s=0.9 > s=0", L, (R9, "probe"), (R0, "probe")),
    ("regression: s=0.9 > s=1", L, (R9, "probe"), ("regression, s=1", "probe")),
    ("regression at s=0 > KL + CE", L, (R0, "probe"), ("KL + CE", "probe")),
    (
        "regression: probe rows > texts as centers",
        L,
        (R9, "probe"),
        ("regression, s=0.9, texts", "probe"),
    ),
    (
        "regression: probe rows > mean images as centers",
        L,
        (R9, "probe"),
        ("regression, s=0.9, mean images", "probe"),
    ),
    ("GenDD (5 samples) > KL", U, (S0, FIVE), ("KL", "probe")),
    ("GenDD (probe) > KL", U, (S0, "probe"), ("KL", "probe")),
    ("GenDD > regression: teacher's head", U, (S0, FIVE), (R0, "projected")),
    ("GenDD > regression: probes", U, (S0, "probe"), (R0, "probe")),
)
#: claim, world, row: its probe is as good as 5 samples
EQUAL = (("at s=0", L, S0), ("at s=0.9", L, S9), ("at s=0", U, S0))


def interval(better: Sequence[float], worse: Sequence[float]) -> tuple[float, float]:
    """The mean paired difference and half of its 95 % interval over seeds (Student's t)."""
    gains = np.asarray(better) - np.asarray(worse)
    return float(gains.mean()), float(t95(len(gains)) * gains.std(ddof=1) / len(gains) ** 0.5)


def table(accuracies: Accuracies, world: str) -> str:
    """Mean ± standard deviation over seeds."""
    rows = []
    for name in (TEACHER, *WORLDS[world].rows):
        values = [accuracies.get((world, name, readout)) for readout in READOUTS]
        rows.append((name, *(mean_and_deviation(v) if v else "" for v in values)))
    return page.table(" | ".join(("row", *READOUTS)), rows)


def verdicts(accuracies: Accuracies, world: str) -> str:
    """Every claim about a world with its verdict, by the rule of ``PairedGain.verdict``."""
    lines = []
    for claim, where, better, worse in GREATER:
        if where == world:
            mean, half = interval(accuracies[(world, *better)], accuracies[(world, *worse)])
            verdict = "**FAILS**" if mean <= 0 else "holds" if mean > half else "not shown"
            lines.append(claim_line(verdict, claim, f"{mean:+.1f} ± {half:.1f}"))
    for when, where, row in EQUAL:
        if where == world:
            mean, half = interval(accuracies[world, row, "probe"], accuracies[world, row, FIVE])
            is_apart = abs(mean) - half > MARGIN
            verdict = "**FAILS**" if is_apart else "not shown"
            verdict = "holds" if abs(mean) + half < MARGIN else verdict
            claim = f"probe within {MARGIN:g} points of 5 samples {when}"
            lines.append(claim_line(verdict, claim, f"{mean:+.1f} ± {half:.1f}"))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = page.options("gendd", __doc__)
    parser.add_argument("--seeds", type=int, default=5, help="2 or more")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="score held-out training pictures; nothing is written",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    start = time.process_time()
    accuracies = Accuracies()
    data = embed()
    held_out = data.train[:, VALIDATION_FROM:] if options.validation else data.test[:, :TEST]
    for seed in range(options.seeds):
        measure(data, seed, held_out, accuracies)
        print(f"seed {seed}: {time.process_time() - start:.0f} s", flush=True)
    text = report(accuracies, options.seeds, held_out, (time.process_time() - start) / 60)
    if options.validation:
        print(text)
    else:
        page.write(options.out, text)


def report(accuracies: Accuracies, seeds: int, held_out: Tensor, minutes: float) -> str:
    """The page of results."""
    count = held_out.shape[0] * held_out.shape[1]
    return f"""# GenDD on cached embeddings

`python -m benchmarks.gendd --seeds {seeds}`

Top-1 in % on {count} held-out pictures of `petals`, mean ± standard deviation over {seeds} seeds;
behind a sign the mean paired difference in points with its 95 % interval over seeds. "holds" only
where that interval excludes zero, "FAILS" where the mean has the other sign. Replica with
inferred settings on a miniature, not the paper's data.

Cached embeddings only: the target is the embedded teacher's image feature (D = 128, here in 4
chunks of 32, or whole), the student an MLP that sees a random projection of it to {SEEN}
dimensions under noise of deviation {NOISE:g}, new at every step. {STEPS} updates of {BATCH}, the
same batches, noise and rates for every row: short for a diffusion model, whose update also costs
about ten times as much as the others'. The denoiser has width {DENOISER["width"]},
{DENOISER["repeats"]} repeats; sampling takes {DENOISER["sampling_steps"]} steps with guidance 2.
Settings were chosen at seed 0 on training pictures kept apart; test pictures were looked at once.

`probe`: linear layer on the student's features, which ships. It learns from labels (below: from
the teacher's answers), and gives the features no gradient except with CE and KL. `regression`:
the control without diffusion, `|P h - x'|^2 / D`; `projected` puts its `P h` through the teacher's
frozen head, as `1 sample` and `5 samples` do with generated features. `s`: contraction toward the
rows of the teacher's probe, or the centers named.

## With labels

{SHOTS} pictures per species; the teacher's head is its linear probe on them.

{table(accuracies, "labeled")}

{verdicts(accuracies, "labeled")}

## Without labels, on other pictures than tested

{FLOWERS} flowers that are none of the species; the teacher's head is its class texts.

{table(accuracies, "unlabeled")}

{verdicts(accuracies, "unlabeled")}

Made in {minutes:.1f} minutes of CPU time on one thread, {platform.machine()}, torch \
{torch.__version__.partition("+")[0]}.
"""


if __name__ == "__main__":
    main()
