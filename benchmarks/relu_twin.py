"""Claim: a SiLU network and its ReLU twin, distilled alike, differ by less than one point.

    python -m benchmarks.relu_twin

EfficientNet-B0 at 32 px in the embedded world, random first weights, with its own SiLU and with
``distill.activation=relu``: the same images, cached teacher outputs and steps. Accuracy of the
exported files on the test split; ``benchmarks.silu_nets`` measures the time that the twin saves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import page
from benchmarks.ladder import paired, shot
from compress import api
from compress.bench.artifact import BenchArtifact
from compress.papers.statistics import PairedGain, mean_and_deviation
from runtime.host import telemetry

NET = "efficientnet_b0"
LIMIT = 1.0
QAT_STEPS = 60
ACTIVATIONS = {"SiLU": None, "ReLU": "relu"}
PRECISIONS = ("fp32", "int8")


def hits_of(seed: int, shots: int, steps: int, work: Path) -> dict[str, NDArray[np.bool_]]:
    """Which test images each file gets right: "SiLU fp32", "SiLU int8", "ReLU fp32", ..."""
    hits: dict[str, NDArray[np.bool_]] = {}
    for name, activation in ACTIVATIONS.items():
        distill = {"init": "random", "activation": activation, "freeze_batch_norm": False}
        overrides: dict[str, Any] = {
            "distill": {**distill, "steps": steps, "lr": 1e-3, "head_lr": 1e-3},
            "generate": {"strategy": "sidclip"},
            "quantize": {"steps": QAT_STEPS},
            "bench": {"seconds": 2.0},
        }
        settings = api.settings_for(
            "petals", shots=shots, student=NET, seed=seed, overrides=overrides
        )
        run = api.build(settings=settings, work_dir=work, name=f"twin-{name}-s{seed}")
        predictions = BenchArtifact(run.stages["bench"].path).predictions()
        for precision in PRECISIONS:
            classes = predictions.logits[f"student_{precision}"].argmax(1)
            hits[f"{name} {precision}"] = classes == predictions.labels
    return hits


def verdict(gap: PairedGain, precision: str) -> str:
    """The claim for one precision: it holds only if the whole interval over seeds is within."""
    if abs(gap.gain) > LIMIT:
        word = "**FAILS**" if gap.gain < 0 else "holds, the twin is better"
    else:
        word = "holds" if abs(gap.gain) + gap.half_width <= LIMIT else "not shown"
    return (
        f"- {word}: {precision}, ReLU twin within {LIMIT:g} point of SiLU "
        f"({gap.gain:+.2f} {gap.within} points)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds, and writes ``relu_twin.md``."""
    parser = page.options("relu_twin", __doc__)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--work-dir", default=None)
    options = parser.parse_args(arguments)
    work = api.work_folder(options.work_dir)
    start = time.perf_counter()
    shots = options.shots
    hits = {(s, shots): hits_of(s, shots, options.steps, work) for s in range(options.seeds)}
    top1 = {
        (name, precision): mean_and_deviation(
            [100 * float(cell[f"{name} {precision}"].mean()) for cell in hits.values()]
        )
        for name in ACTIVATIONS
        for precision in PRECISIONS
    }
    rows = [(name, *(top1[name, precision] for precision in PRECISIONS)) for name in ACTIVATIONS]
    verdicts = [
        verdict(paired(hits, f"ReLU {precision}", f"SiLU {precision}", shots), precision)
        for precision in PRECISIONS
    ]
    command = f"--shots {shots} --seeds {options.seeds} --steps {options.steps}"
    minutes = (time.perf_counter() - start) / 60
    text = f"""# EfficientNet-B0 and its ReLU twin on `petals`

`python -m benchmarks.relu_twin {command}`

{page.table("activation | fp32 | int8", rows)}

{chr(10).join(verdicts)}

Top-1 in % on the test split, {shot(shots)}, {options.seeds} seed(s), 32 px, random first weights, \
{options.steps} + {QAT_STEPS} steps. Made in {minutes:.0f} minutes; {telemetry.host().cpu}.
"""
    page.write(options.out, text)


if __name__ == "__main__":
    main()
