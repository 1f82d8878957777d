"""Makes every weight of the world `petals`: ``python -m benchmarks.petals_training.train``.

    phase             makes                                    samples    2 CPU cores    size
    render            the training flowers (work folder)         120,000    2.8 min
    teacher           teacher/                                 1,100,000   29.4 min    4.2 MB
    student_clip      student_clip.safetensors                   600,000    2.5 min    0.3 MB
    student_generic   student_generic.safetensors                300,000    1.1 min    0.3 MB
    prior             prior/                                     800,000    1.5 min    0.5 MB
    generator         unet/, scheduler/                          420,000   38.4 min    7.8 MB
    vq                vq/                                        100,000   29.2 min    1.1 MB
    evaluate          metrics.json, and the gates                           0.7 min

The times are of the run that made the shipped weights (its log is weights/train_log.jsonl), on
cores that other work shared (vq's on a third of one core). A finished phase leaves a receipt in the
work folder and is not run again; ``--redo`` names phases to run anyway. Each phase starts from the
files (fp16) that the earlier ones wrote, so what is measured is what ships. The same command on the
same machine, thread count and library versions gives the same weights.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.petals_training.files import save_teacher, write_json, write_tensors
from compress.petals.weights import STUDENT_CLIP, STUDENT_GENERIC, TEACHER, WEIGHTS, load_teacher

if TYPE_CHECKING:
    from benchmarks.petals_training.phase import Phase


@dataclass(frozen=True)
class Job:
    """Where a training run reads and writes, and on what device."""

    out: Path
    work: Path
    seed: int
    device: str
    samples: dict[str, int]

    def phase(self, name: str) -> Phase:
        """A phase with its log."""
        from benchmarks.petals_training.phase import Phase

        return Phase(name, self.seed, self.device, self.out / "train_log.jsonl")

    def facts(self, phase: str) -> dict[str, Any]:
        """The facts in the receipt of a finished phase; with others it runs again."""
        return {"seed": self.seed, "samples": self.samples[phase]}

    def pictures(self) -> Any:
        """The training pictures."""
        from benchmarks.petals_training.flowers import load_flowers

        return load_flowers(self.work)

    def teacher(self) -> Any:
        """The teacher as saved, on the run's device, and its tokenizer."""
        import torch

        model, tokenizer = load_teacher(self.out)
        return model.to(self.device, memory_format=torch.channels_last), tokenizer


def _render(job: Job) -> None:
    from benchmarks.petals_training.flowers import draw_flowers

    draw_flowers(job.samples["render"], job.seed, job.work)


def _teacher(job: Job) -> None:
    from benchmarks.petals_training.captions import every_word, tokenizer_of
    from benchmarks.petals_training.train_clip import train_teacher

    tokenizer = tokenizer_of(every_word())
    phase = job.phase("teacher")
    model = train_teacher(phase, job.pictures(), tokenizer, job.samples["teacher"])
    save_teacher(model.state_dict(), len(tokenizer.ids), job.out)
    write_json(job.out / TEACHER / "vocabulary.json", {"ids": tokenizer.ids})


def _student_clip(job: Job) -> None:
    from benchmarks.petals_training.train_clip import train_student_clip

    phase = job.phase("student_clip")
    samples = job.samples["student_clip"]
    teacher, tokenizer = job.teacher()
    state = train_student_clip(phase, job.pictures(), tokenizer, teacher, samples)
    write_tensors(job.out / STUDENT_CLIP, state)


def _student_generic(job: Job) -> None:
    from benchmarks.petals_training.train_clip import train_student_generic

    phase = job.phase("student_generic")
    samples = job.samples["student_generic"]
    write_tensors(job.out / STUDENT_GENERIC, train_student_generic(phase, job.pictures(), samples))


def _prior(job: Job) -> None:
    from benchmarks.petals_training.train_generator import save_prior, train_prior

    phase = job.phase("prior")
    samples = job.samples["prior"]
    teacher, tokenizer = job.teacher()
    save_prior(train_prior(phase, job.pictures(), tokenizer, teacher, samples), job.out)


def _generator(job: Job) -> None:
    from benchmarks.petals_training.train_generator import save_decoder, train_decoder

    phase = job.phase("generator")
    samples = job.samples["generator"]
    teacher, _ = job.teacher()
    save_decoder(train_decoder(phase, job.pictures(), teacher, samples), job.out)


def _vq(job: Job) -> None:
    from benchmarks.petals_training.train_vq import save_vq, train_vq

    phase = job.phase("vq")
    samples = job.samples["vq"]
    teacher, _ = job.teacher()
    save_vq(train_vq(phase, job.pictures(), teacher, samples), job.out)


def _evaluate(job: Job) -> None:
    from benchmarks.petals_training.evaluate import measure, measure_vq, require

    metrics = {**measure(job.out), "decoder": measure_vq(job.out)}
    write_json(job.out / "metrics.json", metrics)
    require(metrics)


# phase -> the function that runs it, and on how many samples
TABLE: dict[str, tuple[Callable[[Job], None], int]] = {
    "render": (_render, 120_000),
    "teacher": (_teacher, 1_100_000),
    "student_clip": (_student_clip, 600_000),
    "student_generic": (_student_generic, 300_000),
    "prior": (_prior, 800_000),
    "generator": (_generator, 420_000),
    "vq": (_vq, 100_000),
    "evaluate": (_evaluate, 0),
}
PHASES = {name: work for name, (work, _) in TABLE.items()}
SAMPLES = {name: samples for name, (_, samples) in TABLE.items()}


def _environment(job: Job) -> dict[str, Any]:
    import diffusers
    import open_clip
    import timm
    import torch

    libraries = (torch, timm, open_clip, diffusers)
    return {
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in libraries},
        "device": job.device,
        "threads": torch.get_num_threads(),
    }


def train(
    job: Job,
    until: str | None = None,
    redo: tuple[str, ...] = (),
    phases: Mapping[str, Callable[[Any], None]] = PHASES,
) -> None:
    """Runs the phases that have no receipt yet, in order.

    Raises:
        TrainingError: a gate is not met.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    job.work.mkdir(parents=True, exist_ok=True)
    for phase, work in phases.items():
        receipt = job.work / f"{phase}.done.json"
        facts = job.facts(phase)
        done = (
            json.loads(receipt.read_text(encoding="utf-8"))
            if receipt.is_file() and phase not in redo
            else {}
        )
        if {name: done.get(name) for name in facts} == facts and phase != "evaluate":
            print(f"{phase}: finished before in {done['seconds']} s")
        else:
            start = time.perf_counter()
            work(job)
            seconds = round(time.perf_counter() - start, 1)
            write_json(receipt, {**facts, "seconds": seconds})
            job.phase(phase).log(
                {"done": True, "seconds": seconds, **facts, "environment": _environment(job)}
            )
        if phase == until:
            return


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.petals_training.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=WEIGHTS,
        help="folder of the weights (default: the package's own)",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("petals_training"), help="folder of flowers and receipts"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="torch CPU threads (default: torch's choice)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", choices=PHASES, help="stop after this phase")
    parser.add_argument(
        "--redo", choices=PHASES, nargs="*", default=(), help="phases to run although they are done"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies sample counts; 0.002 tries it all"
    )
    options = parser.parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    samples = {phase: int(count * options.scale) for phase, count in SAMPLES.items()}
    job = Job(options.out, options.work, options.seed, options.device, samples)
    train(job, options.until, tuple(options.redo))


if __name__ == "__main__":
    main()
