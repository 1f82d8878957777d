"""The students of the GenDD benchmark: cached teacher features, ways to train, readouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.gendd import ContractionTerm, GenddTerm, draw_features, feature_logits
from compress.distill.loop import FitPlan, StepResult, fit
from compress.distill.losses import kl_distill
from compress.distill.pools import FeatureRows
from compress.distill.terms import ObjectiveInputs
from compress.engine.config import DistillSettings, GenddSettings, TeacherSettings
from compress.engine.seeds import manual_seed, numpy_rng, torch_rng

SHOTS = 16
FLOWERS = 2048
VALIDATION_FROM = 48  # of a species' 64 training pictures; the rest is for choosing settings
TEST = 20  # pictures per species
# the student's input and feature
SEEN = 48
WIDTH = 64
NOISE = 1.0  # deviation, on inputs of unit variance
STEPS = 400
BATCH = 64
LR = 4e-3
PROBE_LR = 1e-2
TEMPERATURE = 2.0
ALPHA = 0.9
DENOISER: Mapping[str, Any] = {
    "token_dim": 32,
    "width": 128,
    "depth": 3,
    "repeats": 2,
    "sampling_steps": 16,
    "samples": 5,
}
WHOLE = {"token_dim": 128}
TEACHER = "the teacher itself"
READOUTS = ("probe", "projected", "1 sample", "5 samples")


@dataclass(frozen=True)
class TrainingRow:
    """One way to train.

    Attributes:
        kind: of term.
        smooth, center: of its contraction.
        gendd: changes to the denoiser.
        sampled: whether generated features are read out.
    """

    kind: str
    smooth: float = 0.0
    center: str = "probe_row"
    gendd: Mapping[str, Any] = field(default_factory=dict)
    sampled: bool = False

    @property
    def settings(self) -> DistillSettings:
        """The settings of its term."""
        options = {"gendd": GenddSettings(**{**DENOISER, **self.gendd}), "smooth": self.smooth}
        return DistillSettings.model_validate({**options, "center": self.center})


@dataclass(frozen=True)
class Embeddings:
    """Teacher features (unit rows) of all pictures, and the text head.

    Attributes:
        train: (K, 64, D).
        test: (K, 40, D).
        flowers: (FLOWERS, D), of no species.
        text: (K, D).
        scale: the teacher's logit scale.
    """

    train: Tensor
    test: Tensor
    flowers: Tensor
    text: Tensor
    scale: float


@dataclass(frozen=True)
class Task:
    """What a seed's rows learn from.

    Attributes:
        features: (N, D).
        labels: (N,), given or the teacher's own classes.
        inputs: of the terms.
        labeled: if not, the teacher's soft outputs are the only targets.
    """

    features: Tensor
    labels: Tensor
    inputs: ObjectiveInputs
    labeled: bool

    @classmethod
    def of(
        cls, data: Embeddings, features: Tensor, labels: Tensor, probe: Tensor, means: Tensor
    ) -> Task:
        """The task, labeled if the probe is not the text head."""
        rows = (FeatureRows(features, labels, 1.0),)
        settings = DistillSettings()
        inputs = ObjectiveInputs(settings, WIDTH, data.text, probe, data.scale, means, rows)
        return cls(features, labels, inputs, labeled=probe is not data.text)


@dataclass
class EmbeddingBatch:
    """A step: inputs ``(B, SEEN)`` and the teacher's targets."""

    inputs: Tensor
    teacher_features: Tensor
    labels: Tensor


def embed() -> Embeddings:
    """The embedded teacher's features of petals."""
    from benchmarks.petals_training.captions import class_prompts
    from benchmarks.petals_training.flowers import render_split
    from compress.petals.world import SPECIES, training_flowers
    from compress.teacher.loading import load_clip

    teacher = load_clip(TeacherSettings(name="petals"))
    train, test, flowers = (
        torch.from_numpy(teacher.encode_images(images))
        for images in (
            render_split("train")[0],
            render_split("test")[0],
            training_flowers(0, FLOWERS).images,
        )
    )
    text = torch.from_numpy(teacher.encode_texts(class_prompts()))
    shape = (len(SPECIES), -1, teacher.embed_dim)
    return Embeddings(train.view(shape), test.view(shape), flowers, text, teacher.logit_scale)


def labeled(data: Embeddings, seed: int) -> Task:
    """16 of the first 48 training pictures of each species, labels, and the teacher's probe."""
    from compress.teacher.probe import fit_probe

    classes = len(data.train)
    settings = TeacherSettings()
    shots = torch.stack(
        [
            features[numpy_rng(seed, "shots", c).choice(VALIDATION_FROM, SHOTS, replace=False)]
            for c, features in enumerate(data.train)
        ]
    )
    labels = torch.arange(classes).repeat_interleave(SHOTS)
    features = shots.flatten(0, 1)
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
    """Flowers of no species, with the teacher's classes as labels; its head is the class texts."""
    classes = (data.flowers @ data.text.T).argmax(1)
    return Task.of(data, data.flowers, classes, data.text, data.text)


@dataclass(frozen=True)
class World:
    """A kind of task, and the ways to train on it."""

    task: Callable[[Embeddings, int], Task]
    rows: Mapping[str, TrainingRow]


WORLDS = {
    "labeled": World(
        labeled,
        {
            "CE": TrainingRow("ce"),
            "KL + CE": TrainingRow("kl"),
            "regression, s=0": TrainingRow("regression"),
            "regression, s=0.9": TrainingRow("regression", 0.9),
            "regression, s=0.9, texts": TrainingRow("regression", 0.9, "text"),
            "regression, s=0.9, mean images": TrainingRow("regression", 0.9, "image_mean"),
            "regression, s=1": TrainingRow("regression", 1.0),
            "GenDD, s=0": TrainingRow("gendd", sampled=True),
            "GenDD, s=0, whole": TrainingRow("gendd", gendd=WHOLE),
            "GenDD, s=0, whole, 4 x repeats": TrainingRow(
                "gendd", gendd={**WHOLE, "repeats": 8}, sampled=True
            ),
            "GenDD, s=0.9": TrainingRow("gendd", 0.9, sampled=True),
            "GenDD, s=1": TrainingRow("gendd", 1.0),
        },
    ),
    "unlabeled": World(
        unlabeled,
        {
            "KL": TrainingRow("kl"),
            "regression, s=0": TrainingRow("regression"),
            "GenDD, s=0": TrainingRow("gendd", sampled=True),
        },
    ),
}


class StudentInput:
    """A student's view of a feature: a random projection to ``SEEN`` dimensions, and noise.

    The projection has unit variance in every dimension and is the same for all rows of a seed.
    """

    def __init__(self, task: Task, seed: int) -> None:
        mixing = torch.randn(task.features.shape[1], SEEN, generator=torch_rng(seed, "projection"))
        self.mixing = mixing
        self.mean = task.features.mean(0)
        self.scale = ((task.features - self.mean) @ mixing).std(0)

    def __call__(self, features: Tensor, generator: torch.Generator) -> Tensor:
        clean = ((features - self.mean) @ self.mixing) / self.scale
        return clean + NOISE * torch.randn(clean.shape, generator=generator)


class TrainedStudent(nn.Module):
    """Student, probe, and the term that trains it (nothing of the term ships)."""

    def __init__(self, row: TrainingRow, inputs: ObjectiveInputs) -> None:
        super().__init__()
        gelu = nn.GELU()
        self.trunk = nn.Sequential(
            nn.Linear(SEEN, 128), gelu, nn.Linear(128, 128), gelu, nn.Linear(128, WIDTH)
        )
        self.probe = nn.Linear(WIDTH, len(inputs.probe))
        term = KINDS[row.kind].term
        self.term = term and term(WIDTH, inputs)


@dataclass(frozen=True)
class TermKind:
    """What trains the features, and KL's share in the probe's loss; the rest is CE."""

    term: Callable[[int, ObjectiveInputs], nn.Module] | None
    kl_share: float


KINDS = {
    "ce": TermKind(None, 0.0),
    "kl": TermKind(None, ALPHA),
    "regression": TermKind(ContractionTerm, 0.0),
    "gendd": TermKind(GenddTerm, 0.0),
}


def loss_of(row: TrainingRow, model: TrainedStudent, task: Task, batch: EmbeddingBatch) -> Tensor:
    """The loss of a step.

    CE and KL go through the probe into the trunk; beside a term the probe learns on its own.
    """
    pooled = model.trunk(batch.inputs)
    logits = model.probe(pooled if model.term is None else pooled.detach())
    entropy = F.cross_entropy(logits, batch.labels)
    target = feature_logits(batch.teacher_features, task.inputs.probe, task.inputs.logit_scale)
    share = KINDS[row.kind].kl_share if task.labeled else 1.0
    loss = share * kl_distill(logits, target, TEMPERATURE) + (1 - share) * entropy
    return loss if model.term is None else loss + model.term(pooled, batch)


def train(row: TrainingRow, task: Task, view: StudentInput, seed: int) -> TrainedStudent:
    """A student after ``STEPS`` updates; batches and noise depend on seed and step alone."""
    manual_seed(seed, "student")
    model = TrainedStudent(row, replace(task.inputs, settings=row.settings)).train()

    def loss_at(step: int) -> StepResult:
        rng = torch_rng(seed, "batch", step)
        rows = torch.randint(len(task.features), (BATCH,), generator=rng)
        features = task.features[rows]
        batch = EmbeddingBatch(view(features, rng), features, task.labels[rows])
        return StepResult(loss_of(row, model, task, batch))

    plan = FitPlan(STEPS, LR, head_lr=PROBE_LR, head=("probe.",))
    fit(model, loss_at, plan, folder=None, name="student", seed=seed)
    return model.eval()


def top1(logits: Tensor, labels: Tensor) -> float:
    """In %."""
    return 100 * float((logits.argmax(1) == labels).float().mean())


@torch.no_grad()
def readouts(
    row: TrainingRow,
    model: TrainedStudent,
    probe: Tensor,
    inputs: Tensor,
    labels: Tensor,
    seed: int,
) -> dict[str, float]:
    """Top-1 in % of every readout of a student; ``probe`` is the teacher's head."""
    pooled = model.trunk(inputs)
    accuracy = {"probe": top1(model.probe(pooled), labels)}
    features: dict[str, Tensor] = {}
    if isinstance(model.term, ContractionTerm):
        features["projected"] = model.term.features(pooled)
    if isinstance(model.term, GenddTerm) and row.sampled:
        draws = draw_features(model.term, pooled, generator=torch_rng(seed, "samples"))
        features |= {"1 sample": draws[0], "5 samples": draws.mean(0)}
    for name, rows in features.items():
        accuracy[name] = top1(feature_logits(rows, probe, 1.0), labels)
    return accuracy


Accuracies = dict[tuple[str, str, str], list[float]]  # (world, row, readout) -> top-1 of every seed


def measure(data: Embeddings, seed: int, held_out: Tensor, accuracies: Accuracies) -> None:
    """Adds a seed's accuracies on ``held_out (K, n, D)``."""
    labels = torch.arange(len(held_out)).repeat_interleave(held_out.shape[1])
    features = held_out.flatten(0, 1)
    for name, world in WORLDS.items():
        task = world.task(data, seed)
        view = StudentInput(task, seed)
        probe = task.inputs.probe
        inputs = view(features, torch_rng(seed, "test noise"))
        teacher = top1(features @ probe.T, labels)
        accuracies.setdefault((name, TEACHER, "probe"), []).append(teacher)
        for key, row in world.rows.items():
            model = train(row, task, view, seed)
            for readout, value in readouts(row, model, probe, inputs, labels, seed).items():
                accuracies.setdefault((name, key, readout), []).append(value)
