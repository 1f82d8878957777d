"""The ladder of SIDCLIP on the embedded world: what each component is worth, at 1, 4 and 8 shots.

    python -m benchmarks.sidclip                              # 5 seeds each, about an hour on 2 cores
    python -m benchmarks.sidclip --shots 1 8 --seeds 5 2      # 5 seeds at 1 shot, 2 at 8

Rungs: ``fine-tune`` a generically pretrained student on the shots; ``+D`` adds the teacher's targets; ``+I+D`` starts from the
small CLIP; ``+I+D+S`` adds synthetic images; ``int8`` is the exported file after quantization-aware training. ``probe`` is the
teacher. Every rung has the same number of updates and the same batch. Accuracy is measured on the test split with the
exported file in the runtime. Finished stages are kept in the work folder, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress import pipeline
from compress.api import settings_for, work_folder
from compress.config import Settings
from compress.evaluate import mcnemar_exact
from compress.progress import RichProgress
from runtime import normalise
from runtime.backends import load

BACKEND = "onnxruntime"
RESULTS = Path(__file__).parent / "results"
NO_SYNTHETIC = {"generate": {"per_class": 0}}
RUNGS: dict[str, dict[str, Any]] = {
    "fine-tune": {**NO_SYNTHETIC, "distill": {"init": "generic", "objective": "ce", "freeze_batch_norm": False}},
    "+D": {**NO_SYNTHETIC, "distill": {"init": "generic", "freeze_batch_norm": False}},
    "+I+D": NO_SYNTHETIC,
    "+I+D+S": {"bench": {"seconds": 1}},
}


def test_split(run: pipeline.Run) -> tuple[np.ndarray, np.ndarray]:
    """The test images ``(N, S, S, 3)`` uint8 and their labels ``(N,)``."""
    data = run.stages["data"].path
    labels = np.asarray([row["label"] for row in json.loads((data / "test.json").read_text())])
    return np.load(data / "test.npy"), labels


def measure_rung(settings: Settings, work: Path, name: str) -> np.ndarray:
    """Builds a rung up to its student, exports that and gives its hits on the test split, ``(N,)`` bool."""
    from compress.distill.students import load_student
    from export.to_onnx import save, to_onnx

    run = pipeline.run(settings, work, name, until="distill", progress=RichProgress())
    student = load_student(run.stages["distill"].path)
    images, labels = test_split(run)
    pixels = normalise(images, student.spec.preprocess(settings.image))
    with tempfile.TemporaryDirectory() as folder:
        runner = load(BACKEND, save(to_onnx(student, student.spec.input_size), Path(folder) / "model.fp32.onnx"))
        logits = np.concatenate([runner.run(pixels[at : at + 64]) for at in range(0, len(pixels), 64)])
    return np.asarray(logits.argmax(1) == labels)


def cell(seed: int, shots: int, work: Path) -> dict[str, np.ndarray]:
    """Hits of every rung, of the teacher and of both exported files for one seed and number of shots."""
    hits: dict[str, np.ndarray] = {}
    for rung, overrides in RUNGS.items():
        settings = settings_for("petals", shots=shots, seed=seed, overrides=overrides)
        name = f"sidclip-{rung}-{shots}shot-s{seed}"
        if rung != "+I+D+S":
            hits[rung] = measure_rung(settings, work, name)
            continue
        run = pipeline.run(settings, work, name, until="bench", progress=RichProgress())
        predictions = np.load(run.stages["bench"].path / "predictions.npz")
        labels = predictions["labels"]
        for label, key in (("+I+D+S", "student_fp32"), ("int8", "student_int8"), ("PTQ", "student_ptq"), ("probe", "teacher"),
                           ("zero-shot", "teacher_zero_shot")):  # fmt: skip
            hits[label] = np.asarray(predictions[key].argmax(1) == labels)
    return hits


COLUMNS = ("zero-shot", "fine-tune", "+D", "+I+D", "+I+D+S", "int8", "PTQ", "probe")


def table(hits: dict[tuple[int, int], dict[str, np.ndarray]]) -> str:
    """Mean top-1 in % with the standard deviation over seeds; rows are numbers of shots."""
    lines = ["| shots | seeds | " + " | ".join(COLUMNS) + " |", "|" + "---|" * (len(COLUMNS) + 2)]
    for shots in sorted({k for _, k in hits}):
        cells = [found for (_, k), found in sorted(hits.items()) if k == shots]
        row = [f"{100 * np.mean(v):.1f} ± {100 * np.std(v, ddof=1):.1f}" if len(v) > 1 else f"{100 * v[0]:.1f}"
               for v in ([c[column].mean() for c in cells] for column in COLUMNS)]  # fmt: skip
        lines.append(f"| {shots} | {len(cells)} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def paired(hits: dict[tuple[int, int], dict[str, np.ndarray]], better: str, worse: str, shots: int) -> dict[str, Any]:
    """The paired difference better - worse in points: per seed, mean, 95 % interval over seeds (t), pooled McNemar p."""
    cells = [found for (_, k), found in sorted(hits.items()) if k == shots]
    gains = np.asarray([100 * (c[better].mean() - c[worse].mean()) for c in cells])
    spread = float(_t95(len(gains)) * gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else float("nan")
    a, b = (np.concatenate([c[name] for c in cells]) for name in (better, worse))
    return {
        "gain": float(gains.mean()),
        "half_width": spread if len(gains) > 1 else float("inf"),
        "within": f"± {spread:.2f}" if len(gains) > 1 else "(one seed)",
        "per_seed": gains.round(1).tolist(),
        "p": mcnemar_exact(int((a & ~b).sum()), int((b & ~a).sum())),
    }


def _t95(n: int) -> float:
    """The 97.5 % quantile of Student's t with n - 1 degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def shot(k: int) -> str:
    """``1 shot``, ``4 shots``."""
    return f"{k} shot" if k == 1 else f"{k} shots"


def checks(hits: dict[tuple[int, int], dict[str, np.ndarray]]) -> list[str]:
    """The claims of the paper as signs, each with its verdict; those that fail are listed as failing."""
    shots = sorted({k for _, k in hits})
    low, high, out = shots[0], shots[-1], []

    def mean(column: str, k: int) -> float:
        return float(np.mean([100 * c[column].mean() for (_, kk), c in hits.items() if kk == k]))

    def say(claim: str, holds: bool, figures: str) -> None:
        out.append(f"- {'holds' if holds else '**FAILS**'}: {claim} ({figures})")

    def say_sign(claim: str, p: dict[str, Any], figures: str) -> None:
        """A sign is shown only where the interval over seeds excludes zero; one seed shows none."""
        verdict = "**FAILS**" if p["gain"] <= 0 else "holds" if p["gain"] > p["half_width"] else "not shown"
        out.append(f"- {verdict}: {claim} ({figures})")

    for better, worse in (("probe", "+I+D+S"), ("+I+D+S", "+I+D"), ("+I+D", "fine-tune")):
        p = paired(hits, better, worse, low)
        say_sign(
            f"{better} > {worse} at {shot(low)}",
            p,
            f"{p['gain']:+.1f} {p['within']} points, p = {p['p']:.1e}",
        )
    for k in shots:
        p = paired(hits, "+D", "fine-tune", k)
        say_sign(
            f"+D > fine-tune at {shot(k)}",
            p,
            f"{p['gain']:+.1f} {p['within']} points, seeds {p['per_seed']}",
        )
        q = paired(hits, "int8", "+I+D+S", k)
        say(f"int8 within 0.5 points of fp32 at {shot(k)}", q["gain"] > -0.5, f"{q['gain']:+.2f} {q['within']}")
        r = paired(hits, "int8", "PTQ", k)
        say_sign(f"QAT is better than static PTQ at {shot(k)}", r, f"{r['gain']:+.2f} {r['within']}")
    if high > low:
        gains = [mean("+I+D+S", k) - mean("+I+D", k) for k in (low, high)]
        say(
            f"the gain of S shrinks from {low} to {high} shots",
            gains[0] > gains[1],
            f"{gains[0]:+.1f} -> {gains[1]:+.1f}; {sum(k == low for _, k in hits)} and {sum(k == high for _, k in hits)} seeds",
        )
    for k, limit in ((1, 6.0), (4, 4.0)):
        if k in shots:
            gap = mean("probe", k) - mean("int8", k)
            say(
                f"int8 within {limit:g} points of the probe at {shot(k)}",
                gap <= limit,
                f"{gap:.1f}; {sum(kk == k for _, kk in hits)} seeds",
            )
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidclip", description=__doc__.partition("\n")[0])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 5, 5], help="how many, for each number of shots")
    parser.add_argument("--work-dir", default=None)
    parser.add_argument("--out", type=Path, default=RESULTS / "sidclip.md")
    options = parser.parse_args(arguments)
    work, hits, start = work_folder(options.work_dir), {}, time.perf_counter()
    for shots, seeds in zip(options.shots, options.seeds, strict=True):
        for seed in range(seeds):
            hits[seed, shots] = cell(seed, shots, work)
            print(table(hits), flush=True)
    versions = ", ".join(f"{k} {v}" for k, v in pipeline.versions().items() if k in ("torch", "onnxruntime", "python"))
    shots_given, seeds_given = (" ".join(map(str, values)) for values in (options.shots, options.seeds))
    command = f"python -m benchmarks.sidclip --shots {shots_given} --seeds {seeds_given}"
    text = f"""# The ladder of SIDCLIP on `petals`

`{command}`

Top-1 in % on the test split ({len(next(iter(next(iter(hits.values())).values())))} images of held-out species), mean ± standard
deviation over seeds, measured with the exported ONNX file in the runtime. Replica with inferred settings: the paper does not
state its loss weights, temperature or optimiser, and this is the embedded miniature world, not its data.

{table(hits)}

{chr(10).join(checks(hits))}

Made in {(time.perf_counter() - start) / 60:.0f} minutes on {platform.machine()}, {versions}. Work that was already in the work
folder was not done again.
"""
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
