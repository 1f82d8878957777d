"""Training under torchrun: steps a second of N ranks against one, and whether the losses agree.

    python -m benchmarks.torchrun_training --ranks 2       # 15 minutes on two cores

Real builds of the embedded world: all stages before training are made once, then the student is
trained with few and with more steps, one process and N processes in turns, each with one thread.
The difference of the two times is steps alone, without start-up, loading and sealing. Batch norms
are frozen, as in the default build, and in training mode, synced over the ranks.

Losses are compared step by step, in fp32, while the learning rate rises to 1e-4, as at the start of
a long training. Adam divides by the size of gradients and so magnifies their last bits, the more
the higher the rate: as a yardstick, one process with two threads is compared with one of one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import page
from compress.distill.artifact import DistillArtifact
from compress.engine.store import Store

AGREED_STEPS = 20  # whose losses are compared
TOLERANCE = 1e-4  # between N ranks and one, in fp32: sums in another order
RATE = 1e-4  # that the learning rate rises to in these steps
FACTOR = 1.6  # of two ranks, claimed of the default build
#: what batch norms do -> `distill.freeze_batch_norm`
NORMS = {"frozen": "true", "synced": "false"}
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node")


def build(
    work: Path, ranks: int, until: str, settings: Mapping[str, object], threads: int = 1
) -> None:
    """Builds up to a stage with that many processes."""
    launcher = [*TORCHRUN, str(ranks)] if ranks > 1 else []
    assignments = [part for row in settings.items() for part in ("--set", "=".join(map(str, row)))]
    command = [sys.executable, *launcher, "-m", "compress", "build", "--dataset", "petals"]
    command += ["--work-dir", str(work), "--until", until, "--quiet", *assignments]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def trained(
    work: Path, ranks: int, steps: int, settings: Mapping[str, object], threads: int = 1
) -> tuple[float, list[float]]:
    """Seconds of the distill stage, and the losses that it logged."""
    shutil.rmtree(work / "store" / "distill", ignore_errors=True)
    whole = {**settings, "distill.steps": steps, "distill.checkpoint_every": steps}
    build(work, ranks, "distill", whole, threads)
    (stage,) = Store.of(work).stages("distill")
    assert stage.facts.get("ranks", 1) == ranks
    return stage.seconds, [row["loss"] for row in DistillArtifact(stage.path).history()]


def measure(
    work: Path, ranks: int, steps: int, repeats: int, settings: Mapping[str, object]
) -> dict[str, Any]:
    """Steps a second of one process and of N, and the largest difference of their losses."""
    build(work, 1, "label", settings)
    rising = {**settings, "distill.warmup": 1.0, "distill.lr": RATE, "distill.head_lr": RATE}
    rates: dict[int, list[float]] = {1: [], ranks: []}
    losses: dict[int, list[float]] = {}
    for _ in range(repeats):
        for count in rates:
            few, losses[count] = trained(work, count, AGREED_STEPS, rising)
            many, _ = trained(work, count, AGREED_STEPS + steps, settings)
            rates[count].append(steps / (many - few))
    _, control = trained(work, 1, AGREED_STEPS, rising, threads=2)
    return {
        "ranks": ranks,
        "rates": {str(count): values for count, values in rates.items()},
        "factor": median(b / a for a, b in zip(rates[1], rates[ranks], strict=True)),
        "apart": largest(losses[1], losses[ranks]),
        "control": largest(losses[1], control),
        "losses": {str(count): values for count, values in losses.items()},
    }


def largest(losses: Sequence[float], others: Sequence[float]) -> float:
    """The largest difference of losses, step by step."""
    return max(abs(one - other) for one, other in zip(losses, others, strict=True))


def missed(records: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is claimed and was not measured."""
    for norm, record in records.items():
        if norm == "frozen" and record["ranks"] == 2 and record["factor"] < FACTOR:
            yield f"2 ranks: {record['factor']:.2f}x the steps of one, claimed {FACTOR}x"
        if record["apart"] > TOLERANCE:
            yield f"{norm}: losses differ by {record['apart']:.1e}, claimed {TOLERANCE:.0e}"


def rows(records: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    """A row for each way of batch norms and number of processes."""
    for norm, record in records.items():
        for count, rates in record["rates"].items():
            first = count == "1"
            yield (
                norm,
                count,
                f"{median(rates):.2f}",
                f"{min(rates):.2f} to {max(rates):.2f}",
                "1" if first else f"{record['factor']:.2f}",
                f"{record['control']:.1e} (two threads)" if first else f"{record['apart']:.1e}",
            )


def text(records: Mapping[str, Mapping[str, Any]], command: str) -> str:
    """The page of the records, by what batch norms do."""
    wrong = "".join(f"\nMissed: {line}.\n" for line in missed(records))
    header = "batch norms | processes | steps/s, median | range | factor | losses apart"
    return f"""# Training under torchrun

`{command}`

{page.table(header, rows(records))}

Each process has one thread. The factor is the median over turns. Losses: the largest difference in
the first {AGREED_STEPS} steps from those of one process with one thread; as a yardstick, that of
one process with two threads.
{wrong}
Commit {page.commit()}; {page.cpu()}; {page.library_versions()}.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = page.options("torchrun_training", __doc__)
    parser.add_argument("--ranks", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--steps", type=int, default=100, help="timed steps (default 100)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default 5)")
    parser.add_argument("--student", default="petal_cnn", help="a timm name (default petal_cnn)")
    parser.add_argument("--size", type=int, default=32, help="edge of its images (default 32)")
    parser.add_argument("--batch", type=int, default=128, help="images per step (default 128)")
    options = parser.parse_args(arguments)
    settings: dict[str, object] = {
        "image.size": options.size,
        "distill.student": options.student,
        "distill.batch": options.batch,
        "distill.precision": "fp32",
    }
    if options.student != "petal_cnn":
        settings |= {"distill.init": "random"}
    given = f"--ranks {options.ranks} --steps {options.steps} --repeats {options.repeats}"
    given += f" --student {options.student} --size {options.size} --batch {options.batch}"
    records: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for norm, frozen in NORMS.items():
            own = {**settings, "distill.freeze_batch_norm": frozen}
            how = (options.ranks, options.steps, options.repeats, own)
            records[norm] = measure(Path(folder), *how)
    page.write(options.out, text(records, f"python -m benchmarks.torchrun_training {given}"))


if __name__ == "__main__":
    main()
