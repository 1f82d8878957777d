"""Does generating the teacher's feature teach a student more than regressing it? GenDD on cached
embeddings.

    python -m benchmarks.gendd                          # 5 seeds, about 5 minutes on one core
    python -m benchmarks.gendd --seeds 2 --validation   # scored on training pictures kept apart:
                                                        where settings were chosen

Cached features of the embedded teacher only; what the rows and readouts are is said on the page
this writes (``results/gendd.md``). Every row of a seed has the same batches, noise and number of
updates, so differences are paired.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.gendd import ContractionTerm, GenddTerm, draw_features, feature_logits
from compress.distill.loop import FitPlan, StepResult, fit
from compress.distill.losses import kl_distill
from compress.distill.terms import ObjectiveInputs
from compress.engine.config import DistillSettings, GenddSettings, TeacherSettings
from compress.engine.seeds import manual_seed, numpy_rng, torch_rng
from compress.papers.statistics import mean_and_deviation, said, t95

RESULTS = Path(__file__).parent / "results"
SHOTS, FLOWERS = 16, 2048
VALIDATION_FROM = (
    48  # of the 64 training pictures of a species, those from here on are for choosing settings
)
TEST = 20  # pictures per species
SEEN, WIDTH = 48, 64  # the student's input and feature
NOISE = 1.0  # deviation, on inputs of unit variance
STEPS, BATCH, LR, PROBE_LR, TEMPERATURE, ALPHA = 400, 64, 4e-3, 1e-2, 2.0, 0.9
DENOISER = {
    "token_dim": 32,
    "width": 128,
    "depth": 3,
    "repeats": 2,
    "sampling_steps": 16,
    "samples": 5,
}
MARGIN = 2.0  # points within which two readouts count as equal


@dataclass(frozen=True)
class Row:
    """One way to train: ``kind`` of term, contraction ``smooth``, ``center``, and changes to the
    denoiser.
    """

    kind: str
    smooth: float = 0.0
    center: str = "probe_row"
    gendd: dict[str, Any] = field(default_factory=dict)
    sampled: bool = False


WHOLE = {"token_dim": 128}
LABELED = {
    "CE": Row("ce"),
    "KL + CE": Row("kl"),
    "regression, s=0": Row("regression"),
    "regression, s=0.9": Row("regression", 0.9),
    "regression, s=0.9, texts": Row("regression", 0.9, "text"),
    "regression, s=0.9, mean images": Row("regression", 0.9, "image_mean"),
    "regression, s=1": Row("regression", 1.0),
    "GenDD, s=0": Row("gendd", sampled=True),
    "GenDD, s=0, whole": Row("gendd", gendd=WHOLE),
    "GenDD, s=0, whole, 4 x repeats": Row("gendd", gendd={**WHOLE, "repeats": 8}, sampled=True),
    "GenDD, s=0.9": Row("gendd", 0.9, sampled=True),
    "GenDD, s=1": Row("gendd", 1.0),
}
UNLABELED = {
    "KL": Row("kl"),
    "regression, s=0": Row("regression"),
    "GenDD, s=0": Row("gendd", sampled=True),
}
KL_SHARE = {
    "ce": 0.0,
    "kl": ALPHA,
    "regression": 0.0,
    "gendd": 0.0,
}  # of the probe's loss, the rest is CE
ROWS = {"labelled": LABELED, "unlabelled": UNLABELED}


@dataclass(frozen=True)
class Embeddings:
    """Teacher features (unit rows) of all pictures, and the text head ``(K, D)``."""

    train: Tensor  # (K, 64, D)
    test: Tensor  # (K, 40, D)
    flowers: Tensor  # (FLOWERS, D)
    text: Tensor
    scale: float


@dataclass(frozen=True)
class Task:
    """What a seed's rows learn from."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,), given or the teacher's own answers
    inputs: ObjectiveInputs
    labeled: bool  # if not, the teacher's soft answers are the only targets

    @classmethod
    def of(
        cls, data: Embeddings, features: Tensor, labels: Tensor, probe: Tensor, means: Tensor
    ) -> Task:
        """The task, labeled if the probe is not the text head."""
        mean, std = features.mean(0), features.std(0)
        settings = DistillSettings()
        inputs = ObjectiveInputs(settings, WIDTH, data.text, probe, data.scale, means, mean, std)
        return cls(features, labels, inputs, labeled=probe is not data.text)


@dataclass
class Batch:
    """A step: inputs ``(B, SEEN)`` and the teacher's targets."""

    inputs: Tensor
    teacher_features: Tensor
    labels: Tensor


def embed() -> Embeddings:
    """The embedded teacher's features of petals."""
    from compress.petals.world import SPECIES, class_prompts, render_split, training_flowers
    from compress.teacher.loading import load_teacher

    teacher = load_teacher(TeacherSettings(name="petals"))
    train, test = (
        torch.from_numpy(teacher.encode_images(render_split(split)[0])).view(
            len(SPECIES), -1, teacher.embed_dim
        )
        for split in ("train", "test")
    )
    flowers = torch.from_numpy(teacher.encode_images(training_flowers(0, FLOWERS).images))
    return Embeddings(
        train,
        test,
        flowers,
        torch.from_numpy(teacher.encode_texts(class_prompts())),
        teacher.logit_scale,
    )


def labeled(data: Embeddings, seed: int) -> Task:
    """16 of the first 48 training pictures of each species, their labels, and the teacher's probe
    on them.
    """
    from compress.teacher.probe import fit_probe

    classes = len(data.train)
    chosen = [
        numpy_rng(seed, "shots", c).choice(VALIDATION_FROM, SHOTS, replace=False)
        for c in range(classes)
    ]
    shots = torch.stack([data.train[c, rows] for c, rows in enumerate(chosen)])
    labels = torch.arange(classes).repeat_interleave(SHOTS)
    features = shots.flatten(0, 1)
    settings = TeacherSettings()
    probe = fit_probe(
        features.numpy(),
        labels.numpy(),
        data.text.numpy(),
        data.scale,
        steps=settings.probe_steps,
        lr=settings.probe_lr,
    )
    means = F.normalize(shots.mean(1), dim=-1)
    return Task.of(data, features, labels, torch.from_numpy(probe), means)


def unlabeled(data: Embeddings, seed: int) -> Task:
    """Flowers of no species; the teacher's head is its class texts, the labels are what it says."""
    answers = (data.flowers @ data.text.T).argmax(1)
    return Task.of(data, data.flowers, answers, data.text, data.text)


WORLDS: dict[str, Callable[[Embeddings, int], Task]] = {
    "labelled": labeled,
    "unlabelled": unlabeled,
}


class Sight:
    """What a seed's students see of a feature: a random projection to ``SEEN`` unit-variance
    dimensions, and noise.
    """

    def __init__(self, task: Task, seed: int) -> None:
        mixing = torch.randn(task.features.shape[1], SEEN, generator=torch_rng(seed, "projection"))
        self.mixing, self.mean = mixing, task.inputs.feature_mean
        self.scale = ((task.features - self.mean) @ mixing).std(0)

    def __call__(self, features: Tensor, generator: torch.Generator) -> Tensor:
        clean = ((features - self.mean) @ self.mixing) / self.scale
        return clean + NOISE * torch.randn(clean.shape, generator=generator)


class Model(nn.Module):
    """Student, probe, and the term that teaches it (nothing of the term ships)."""

    def __init__(self, row: Row, task: Task) -> None:
        super().__init__()
        gelu = nn.GELU()
        self.trunk = nn.Sequential(
            nn.Linear(SEEN, 128), gelu, nn.Linear(128, 128), gelu, nn.Linear(128, WIDTH)
        )
        self.probe = nn.Linear(WIDTH, len(task.inputs.probe))
        self.term = TERMS[row.kind](task.inputs)


TERMS: dict[str, Callable[[ObjectiveInputs], nn.Module | None]] = {
    "ce": lambda inputs: None,
    "kl": lambda inputs: None,
    "regression": lambda inputs: ContractionTerm(WIDTH, inputs),
    "gendd": lambda inputs: GenddTerm(WIDTH, inputs),
}


def loss_of(row: Row, model: Model, task: Task, batch: Batch) -> Tensor:
    """The loss of a step. CE and KL go through the probe into the trunk; beside a term the probe
    learns on its own.
    """
    pooled = model.trunk(batch.inputs)
    logits = model.probe(pooled if model.term is None else pooled.detach())
    entropy = F.cross_entropy(logits, batch.labels)
    wanted = feature_logits(batch.teacher_features, task.inputs.probe, task.inputs.logit_scale)
    share = KL_SHARE[row.kind] if task.labeled else 1.0
    answer = share * kl_distill(logits, wanted, TEMPERATURE) + (1 - share) * entropy
    return answer if model.term is None else answer + model.term(pooled, batch)


def train(row: Row, task: Task, sight: Sight, seed: int) -> Model:
    """A student after ``STEPS`` updates; batches and noise depend on the seed and the step
    alone.
    """
    manual_seed(seed, "student")
    model = Model(row, task).train()

    def loss_at(step: int) -> StepResult:
        drawn = torch_rng(seed, "batch", step)
        rows = torch.randint(len(task.features), (BATCH,), generator=drawn)
        features = task.features[rows]
        return StepResult(
            loss_of(row, model, task, Batch(sight(features, drawn), features, task.labels[rows]))
        )

    fit(
        model,
        loss_at,
        FitPlan(STEPS, LR, head_lr=PROBE_LR, head=("probe.",)),
        folder=None,
        name="student",
        seed=seed,
    )
    return model.eval()


def top1(logits: Tensor, labels: Tensor) -> float:
    """In %."""
    return 100 * float((logits.argmax(1) == labels).float().mean())


@torch.no_grad()
def readouts(
    row: Row, model: Model, task: Task, inputs: Tensor, labels: Tensor, seed: int
) -> dict[str, float]:
    """Top-1 in % of every readout of a student."""
    pooled = model.trunk(inputs)
    found = {"probe": top1(model.probe(pooled), labels)}
    if isinstance(model.term, ContractionTerm):
        found["projected"] = top1(
            feature_logits(model.term.features(pooled), task.inputs.probe, 1.0), labels
        )
    if isinstance(model.term, GenddTerm) and row.sampled:
        draws = draw_features(model.term, pooled, generator=torch_rng(seed, "samples"))
        found["1 sample"] = top1(feature_logits(draws[0], task.inputs.probe, 1.0), labels)
        found["5 samples"] = top1(feature_logits(draws.mean(0), task.inputs.probe, 1.0), labels)
    return found


Found = dict[tuple[str, str, str], list[float]]  # (world, row, readout) -> top-1 of every seed


def measure(data: Embeddings, seed: int, held_out: Tensor, found: Found) -> None:
    """Adds a seed's accuracies on ``held_out (K, n, D)``."""
    labels = torch.arange(len(held_out)).repeat_interleave(held_out.shape[1])
    for world, make in WORLDS.items():
        task = make(data, seed)
        sight = Sight(task, seed)
        features = held_out.flatten(0, 1)
        inputs = sight(features, torch_rng(seed, "test noise"))
        found.setdefault((world, TEACHER, "probe"), []).append(
            top1(features @ task.inputs.probe.T, labels)
        )
        for name, row in ROWS[world].items():
            options = GenddSettings(**{**DENOISER, **row.gendd})
            settings = DistillSettings(gendd=options, smooth=row.smooth, center=row.center)  # type: ignore[arg-type]
            task = replace(task, inputs=replace(task.inputs, settings=settings))
            model = train(row, task, sight, seed)
            for readout, value in readouts(row, model, task, inputs, labels, seed).items():
                found.setdefault((world, name, readout), []).append(value)


TEACHER = "the teacher itself"
COLUMNS = ("probe", "projected", "1 sample", "5 samples")


def table(found: Found, world: str) -> str:
    """Mean ± standard deviation over seeds."""
    lines = ["| row | " + " | ".join(COLUMNS) + " |", "|" + "---|" * (len(COLUMNS) + 1)]
    for name in (TEACHER, *ROWS[world]):
        values = [found.get((world, name, column)) for column in COLUMNS]
        cells = [mean_and_deviation(v) if v else "" for v in values]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


L, U = "labelled", "unlabelled"
S0, S9, S1, WHOLE_4X = "GenDD, s=0", "GenDD, s=0.9", "GenDD, s=1", "GenDD, s=0, whole, 4 x repeats"
R0, R9 = "regression, s=0", "regression, s=0.9"
ONE, FIVE = "1 sample", "5 samples"
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


def verdicts(found: Found, world: str) -> str:
    """Every sign of a world with its verdict, by the rule of
    `compress.papers.statistics.Paired.verdict`.
    """
    lines = []
    for claim, where, better, worse in GREATER:
        if where == world:
            mean, half = interval(found[(world, *better)], found[(world, *worse)])
            verdict = "**FAILS**" if mean <= 0 else "holds" if mean > half else "not shown"
            lines.append(said(verdict, claim, f"{mean:+.1f} ± {half:.1f}"))
    for claim, where, row in EQUAL:
        if where == world:
            mean, half = interval(found[world, row, "probe"], found[world, row, FIVE])
            verdict = (
                "holds"
                if abs(mean) + half < MARGIN
                else "**FAILS**"
                if abs(mean) - half > MARGIN
                else "not shown"
            )
            lines.append(
                said(
                    verdict,
                    f"probe within {MARGIN:g} points of 5 samples {claim}",
                    f"{mean:+.1f} ± {half:.1f}",
                )
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gendd", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=5, help="2 or more")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="score held-out training pictures; nothing is written",
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "gendd.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    start, found = time.process_time(), Found()
    data = embed()
    held_out = data.train[:, VALIDATION_FROM:] if options.validation else data.test[:, :TEST]
    for seed in range(options.seeds):
        measure(data, seed, held_out, found)
        print(f"seed {seed}: {time.process_time() - start:.0f} s", flush=True)
    body = report(found, options.seeds, held_out, (time.process_time() - start) / 60)
    print(body)
    if not options.validation:
        options.out.write_text(body)


def report(found: Found, seeds: int, held_out: Tensor, minutes: float) -> str:
    """The page of results."""
    count = held_out.shape[0] * held_out.shape[1]
    return f"""# GenDD on cached embeddings

`python -m benchmarks.gendd --seeds {seeds}`

Top-1 in % on {count} held-out pictures of `petals`, mean ± standard deviation over {seeds} seeds; behind a sign the mean paired
difference in points with its 95 % interval over seeds. "holds" only where that interval excludes zero, "FAILS" where the mean has
the other sign.
Replica with inferred settings on a miniature, not the paper's data.

Cached embeddings only: the target is the embedded teacher's image feature (D = 128, here in 4 chunks of 32, or whole), the
student an MLP that sees a random projection of it to {SEEN} dimensions under noise of deviation {NOISE:g}, new at every step.
{STEPS} updates of {BATCH}, the same batches, noise and rates for every row: short for a diffusion model, whose update also
costs about ten times as much as the others'. The denoiser has width {DENOISER["width"]}, {DENOISER["repeats"]} repeats;
sampling takes {DENOISER["sampling_steps"]} steps with guidance 2. Settings were chosen at seed 0 on training pictures kept
apart; test pictures were looked at once.

`probe`: linear layer on the student's features, which ships. It learns from labels (below: from the teacher's answers), and
gives the features no gradient except with CE and KL. `regression`: the control without diffusion, `|P h - x'|^2`; `projected`
puts its `P h` through the teacher's frozen head, as `1 sample` and `5 samples` do with generated features. `s`: contraction
toward the rows of the teacher's probe, or the centers named.

## With labels

{SHOTS} pictures per species; the teacher's head is its linear probe on them.

{table(found, "labelled")}

{verdicts(found, "labelled")}

## Without labels, on other pictures than tested

{FLOWERS} flowers that are none of the species; the teacher's head is its class texts.

{table(found, "unlabelled")}

{verdicts(found, "unlabelled")}

Made in {minutes:.1f} minutes of CPU time on one thread, {platform.machine()}, torch {torch.__version__.partition("+")[0]}.
"""


if __name__ == "__main__":
    main()
