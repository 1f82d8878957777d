"""Claim: a SiLU network and its ReLU twin, distilled alike, differ by less than one point; the twin
is the faster one in int8.

    python -m benchmarks.relu_twin

EfficientNet-B0 at 32 px in the embedded world, random first weights, with its own SiLU and with
``distill.activation=relu``: the same images, cached answers and steps. Accuracy of the exported
files on the test split; what the twin saves in time is measured by ``benchmarks.silu_nets``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress import api
from compress.papers.statistics import Paired, mean_and_deviation, paired, shot
from runtime.host import telemetry

RESULTS = Path(__file__).parent / "results"
NET, LIMIT, QAT_STEPS = "efficientnet_b0", 1.0, 60
FORMS = {"SiLU": None, "ReLU": "relu"}


def hits_of(seed: int, shots: int, steps: int, work: Path) -> dict[str, NDArray[np.bool_]]:
    """Which test images each file gets right: "SiLU fp32", "SiLU int8", "ReLU fp32", ..."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, activation in FORMS.items():
        distill: dict[str, Any] = {
            "init": "random",
            "activation": activation,
            "steps": steps,
            "lr": 1e-3,
            "head_lr": 1e-3,
            "freeze_batch_norm": False,
        }
        settings = api.settings_for(
            "petals",
            shots=shots,
            student=NET,
            seed=seed,
            overrides={
                "distill": distill,
                "generate": {"strategy": "sidclip"},
                "quantize": {"steps": QAT_STEPS},
                "bench": {"seconds": 2.0},
            },
        )
        run = api.build(settings=settings, work_dir=work, name=f"twin-{name}-s{seed}")
        stored = np.load(run.stages["bench"].path / "predictions.npz", allow_pickle=False)
        for precision in ("fp32", "int8"):
            found[f"{name} {precision}"] = (
                stored[f"student_{precision}"].argmax(1) == stored["labels"]
            )
    return found


def said(gap: Paired, precision: str) -> str:
    """The verdict on one precision: within the limit only if the whole interval over seeds is."""
    if abs(gap.gain) > LIMIT:
        verdict = "**FAILS**" if gap.gain < 0 else "holds, the twin is better"
    else:
        verdict = "holds" if abs(gap.gain) + gap.half_width <= LIMIT else "not shown"
    return (
        f"- {verdict}: {precision}, ReLU twin within {LIMIT:g} point of SiLU "
        f"({gap.gain:+.2f} {gap.within} points)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds, and writes ``relu_twin.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--work-dir", default=None)
    parser.add_argument("--out", type=Path, default=RESULTS / "relu_twin.md")
    options = parser.parse_args(arguments)
    work, start = api.work_folder(options.work_dir), time.perf_counter()
    hits = {
        (s, options.shots): hits_of(s, options.shots, options.steps, work)
        for s in range(options.seeds)
    }
    rows = []
    for name in FORMS:
        cells = [
            mean_and_deviation(
                [100 * float(cell[f"{name} {precision}"].mean()) for cell in hits.values()]
            )
            for precision in ("fp32", "int8")
        ]
        rows.append(f"| {name} | {cells[0]} | {cells[1]} |")
    gaps = [
        said(paired(hits, f"ReLU {precision}", f"SiLU {precision}", options.shots), precision)
        for precision in ("fp32", "int8")
    ]
    command = (
        f"python -m benchmarks.relu_twin --shots {options.shots} --seeds "
        f"{options.seeds} --steps {options.steps}"
    )
    lines = [
        "# EfficientNet-B0 and its ReLU twin on `petals`",
        f"\n`{command}`\n",
        "| activation | fp32 | int8 |",
        "|---|---|---|",
        *rows,
        "",
        *gaps,
        f"\nTop-1 in % on the test split, {shot(options.shots)}, {options.seeds} seed(s), 32 px, "
        f"random first weights, {options.steps} + {QAT_STEPS} steps. Made in "
        f"{(time.perf_counter() - start) / 60:.0f} minutes; "
        f"{telemetry.host().cpu}.\n",
    ]
    options.out.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
