"""Phases ``teacher``, ``student_clip`` and ``student_generic``: the contrastive networks and the
generic trunk.

The teacher is trained as CLIP is (symmetric cross-entropy over a batch, Radford et al. 2021, figure
3) plus an auxiliary linear head that names the seven attributes, dropped afterwards. Petal count is
the attribute that contrast alone learns last, so it weighs most in that head.

The student "I" is a small CLIP of its own (locked-text tuning, Zhai et al. 2022): its trunk meets
the teacher's frozen text tower and never sees the teacher's image tower. The generic trunk learns
color x shape only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from open_clip import CLIP
from torch import Tensor, nn
from torch.nn import functional

from compress.engine.errors import TrainingError
from compress.engine.seeds import manual_seed, numpy_rng
from compress.petals import attributes as at
from compress.petals.nets import EMBED_DIM, PetalCNN, new_teacher
from compress.petals.rendering import pixels
from compress.petals.runs import Run
from compress.petals.weights import Tokenizer
from compress.petals.world import TrainingFlowers

MAX_LOG_SCALE = math.log(100)  # CLIP's own cap
_AUXILIARY_WEIGHTS = torch.tensor(
    [4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
)  # count first, see the header


class Pictures(Protocol):
    """Captioned pictures to learn from: the flowers of this world, or photos of another."""

    @property
    def images(self) -> np.ndarray:
        """uint8 (N, 32, 32, 3)."""

    def captions(self, rng: np.random.Generator, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A random caption of each picture named in ``rows``."""


def batches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """``steps`` batches of row numbers: whole shuffled epochs, the incomplete last batch of an
    epoch left out.
    """
    order, place = rng.permutation(count), 0
    for _ in range(steps):
        if place + batch > count:
            order, place = rng.permutation(count), 0
        yield order[place : place + batch]
        place += batch


def turned(images: Tensor) -> Tensor:
    """Random mirror, flip and transpose of each image (B, C, S, S); the world has no up, so all
    eight are as likely.
    """
    coins = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5
    images = torch.where(coins[0], images.flip(3), images)
    images = torch.where(coins[1], images.flip(2), images)
    return torch.where(coins[2], images.transpose(2, 3), images)


def mirrored(images: Tensor) -> Tensor:
    """Random mirror of each image (B, C, S, S), left to right: what photos of things with an up
    allow.
    """
    return torch.where(
        torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5, images.flip(3), images
    )


def shifted(images: Tensor, reach: int = 3) -> Tensor:
    """The batch moved by up to ``reach`` pixels, one random move for all, borders replicated."""
    size = images.shape[-1]
    top, left = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    return functional.pad(images, (reach,) * 4, mode="replicate")[
        :, :, top : top + size, left : left + size
    ]


def contrastive_loss(
    images: Tensor, texts: Tensor, log_scale: Tensor, labels: Tensor | None = None
) -> Tensor:
    """CLIP's loss for matching rows of unit ``images`` and ``texts`` (B, D): mean over B, mean of
    both directions.

    With ``labels`` (B,) every pair of one label matches, each with the same share of the target
    (UniCL, Yang et al. 2022): where captions tell little more than the class, the others of a batch
    are no negatives.
    """
    logits = log_scale.exp() * images @ texts.T
    target = torch.arange(len(logits), device=logits.device)
    if labels is not None:
        same = (labels[:, None] == labels[None, :]).float()
        target = same / same.sum(1, keepdim=True)
    return (
        functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    ) / 2


def optimize(
    run: Run,
    parameters: list[nn.Parameter],
    loss_of: Callable[[np.ndarray], tuple[Tensor, dict[str, float]]],
    *,
    rows: int,
    batch: int,
    samples: int,
    lr: float,
    weight_decay: float,
    schedule: Callable[[float], float] = lambda part: 0.5 + 0.5 * math.cos(math.pi * part),
    after: Callable[[int], None] = lambda step: None,
    betas: tuple[float, float] = (0.9, 0.98),
) -> None:
    """The one training loop of this package: AdamW, warm-up of 100 steps, ``schedule`` over the
    run, gradient norm 1.

    ``loss_of(rows)`` gives the loss and numbers to log; ``after(step)`` runs behind each update.
    Raises TrainingError when the loss is not finite.
    """
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr,
        betas=betas,
    )
    steps = max(samples // batch, 1)
    rng = numpy_rng(run.seed, "embedded", run.phase, "batches")
    for step, chosen in enumerate(batches(rows, batch, steps, rng)):
        rate = lr * min(1.0, (step + 1) / 100) * schedule(step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, numbers = loss_of(chosen)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        after(step)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss of phase {run.phase} is not finite", got=value, remedy="lower its lr"
            )
        run.step(step, steps, batch, {"loss": value, **numbers})


def train_teacher(run: Run, flowers: TrainingFlowers, tokenizer: Tokenizer, samples: int) -> CLIP:
    """The CLIP teacher, from nothing."""
    manual_seed(run.seed, "embedded", run.phase)
    model = run.place(new_teacher(len(tokenizer.ids)))
    auxiliary = nn.Linear(EMBED_DIM, sum(at.CARDINALITIES)).to(run.device)
    weights = (_AUXILIARY_WEIGHTS / _AUXILIARY_WEIGHTS.sum()).to(run.device)
    rng = numpy_rng(run.seed, "embedded", run.phase, "captions")
    attributes = torch.from_numpy(flowers.attributes)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(turned(pixels(flowers.images[rows], run.device)))
        tokens = tokenizer(flowers.captions(rng, rows)).to(run.device)
        with run.autocast():
            image, text = model.encode_image(run.laid_out(images)), model.encode_text(tokens)
        image, text = image.float(), text.float()
        told = attributes[torch.from_numpy(rows)].to(run.device)
        parts = auxiliary(image).split(at.CARDINALITIES, 1)
        losses = torch.stack(
            [functional.cross_entropy(part, told[:, i]) for i, part in enumerate(parts)]
        )
        contrast = contrastive_loss(
            functional.normalize(image, dim=-1),
            functional.normalize(text, dim=-1),
            model.logit_scale,
        )
        right = [
            (part.argmax(1) == told[:, i]).float().mean().item() for i, part in enumerate(parts)
        ]
        numbers = {"contrast": contrast.item(), **dict(zip(at.NAMES, right, strict=True))}
        return contrast + 2 * (losses * weights).sum(), numbers

    def clamp(step: int) -> None:
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOG_SCALE)

    optimize(
        run,
        [*model.parameters(), *auxiliary.parameters()],
        loss_of,
        rows=len(flowers.images),
        batch=192,
        samples=samples,
        lr=2e-3,
        weight_decay=0.05,
        after=clamp,
    )
    return model.eval()


def train_student_clip(
    run: Run, flowers: TrainingFlowers, tokenizer: Tokenizer, teacher: CLIP, samples: int
) -> dict[str, Tensor]:
    """The student "I": trunk, projection and logit scale, against the teacher's frozen text
    tower.
    """
    manual_seed(run.seed, "embedded", run.phase)
    trunk = run.place(PetalCNN())
    projection = nn.Linear(trunk.num_features, EMBED_DIM, bias=False).to(run.device)
    log_scale = nn.Parameter(torch.tensor(3.5, device=run.device))
    rng = numpy_rng(run.seed, "embedded", run.phase, "captions")
    texts = encode_captions(run, flowers, tokenizer, teacher, rng)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(turned(pixels(flowers.images[rows], run.device)))
        with run.autocast():
            image = projection(trunk(run.laid_out(images)))
        text = texts[torch.from_numpy(rows)].to(run.device)
        return contrastive_loss(functional.normalize(image.float(), dim=-1), text, log_scale), {}

    def clamp(step: int) -> None:
        with torch.no_grad():
            log_scale.clamp_(0, MAX_LOG_SCALE)

    optimize(
        run,
        [*trunk.parameters(), *projection.parameters(), log_scale],
        loss_of,
        rows=len(flowers.images),
        batch=384,
        samples=samples,
        lr=3e-3,
        weight_decay=0.02,
        after=clamp,
    )
    state = {f"trunk.{name}": tensor for name, tensor in trunk.state_dict().items()}
    return {**state, "proj.weight": projection.weight, "logit_scale": log_scale}


def train_student_generic(run: Run, flowers: TrainingFlowers, samples: int) -> dict[str, Tensor]:
    """The generic trunk: 32 labels, color x shape."""
    manual_seed(run.seed, "embedded", run.phase)
    colors, shapes = at.CARDINALITIES[at.COLOR], at.CARDINALITIES[at.SHAPE]
    trunk = run.place(PetalCNN(num_classes=colors * shapes))
    labels = torch.from_numpy(
        flowers.attributes[:, at.COLOR] * shapes + flowers.attributes[:, at.SHAPE]
    )

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(turned(pixels(flowers.images[rows], run.device)))
        with run.autocast():
            logits = trunk(run.laid_out(images))
        target = labels[torch.from_numpy(rows)].to(run.device)
        right = (logits.argmax(1) == target).float().mean().item()
        return functional.cross_entropy(logits.float(), target), {"top1": right}

    optimize(
        run,
        list(trunk.parameters()),
        loss_of,
        rows=len(flowers.images),
        batch=384,
        samples=samples,
        lr=3e-3,
        weight_decay=0.02,
    )
    trunk.reset_classifier(0)
    return {f"trunk.{name}": tensor for name, tensor in trunk.state_dict().items()}


@torch.no_grad()
def encode_captions(
    run: Run, pictures: Pictures, tokenizer: Tokenizer, teacher: CLIP, rng: np.random.Generator
) -> Tensor:
    """One random caption of every picture as a unit text embedding (N, D)."""
    out = []
    for start in range(0, len(pictures.images), 1000):
        rows = range(start, min(start + 1000, len(pictures.images)))
        with run.autocast():
            text = teacher.encode_text(tokenizer(pictures.captions(rng, rows)).to(run.device))
        out.append(functional.normalize(text.float(), dim=-1))
    return torch.cat(out)
