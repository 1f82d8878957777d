"""Phases ``teacher``, ``student_clip`` and ``student_generic``: two CLIPs and a generic trunk.

The teacher is trained as CLIP is (symmetric cross-entropy over a batch, Radford et al. 2021, figure
3) plus an auxiliary linear head that names the seven attributes, dropped afterwards. Petal count is
the attribute that contrast alone learns last, so it weighs most in that head.

The student is a small CLIP of its own (locked-text tuning, Zhai et al. 2022): its trunk is trained
against the teacher's frozen text tower and never sees the teacher's image tower. The generic trunk
learns color x shape only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from open_clip import CLIP
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.petals_training.flowers import CaptionedFlowers
from benchmarks.petals_training.loop import Pictures, optimize, shifted, turned
from benchmarks.petals_training.phase import Phase
from compress.engine.seeds import manual_seed, numpy_rng
from compress.petals import attributes as at
from compress.petals.nets import EMBED_DIM, PetalCNN, new_teacher, pixels
from compress.petals.weights import Tokenizer

MAX_LOG_SCALE = math.log(100)  # CLIP's own cap
_AUXILIARY_WEIGHTS = torch.tensor([4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # the count first


def contrastive_loss(
    images: Tensor, texts: Tensor, log_scale: Tensor, labels: Tensor | None = None
) -> Tensor:
    """CLIP's loss for matching rows of unit ``images`` and ``texts`` (B, D), both directions.

    With ``labels`` (B,) every pair of one label matches, each with the same share of the target
    (UniCL, Yang et al. 2022): where captions say little more than the class, the others of a batch
    are no negatives.
    """
    logits = log_scale.exp() * images @ texts.T
    target = torch.arange(len(logits), device=logits.device)
    if labels is not None:
        same = (labels[:, None] == labels[None, :]).float()
        target = same / same.sum(1, keepdim=True)
    of_images = functional.cross_entropy(logits, target)
    return (of_images + functional.cross_entropy(logits.T, target)) / 2


def capped(log_scale: Tensor) -> Callable[[int], None]:
    """Keeps a logit scale below CLIP's cap, after each step."""

    def clamp(step: int) -> None:
        with torch.no_grad():
            log_scale.clamp_(0, MAX_LOG_SCALE)

    return clamp


def train_teacher(
    phase: Phase, flowers: CaptionedFlowers, tokenizer: Tokenizer, samples: int
) -> CLIP:
    """The CLIP teacher, from random weights."""
    manual_seed(phase.seed, "embedded", phase.name)
    model = phase.place(new_teacher(len(tokenizer.ids)))
    auxiliary = nn.Linear(EMBED_DIM, sum(at.CARDINALITIES)).to(phase.device)
    weights = (_AUXILIARY_WEIGHTS / _AUXILIARY_WEIGHTS.sum()).to(phase.device)
    rng = numpy_rng(phase.seed, "embedded", phase.name, "captions")
    attributes = torch.from_numpy(flowers.attributes)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(turned(pixels(flowers.images[rows], phase.device)))
        tokens = tokenizer(flowers.captions(rng, rows)).to(phase.device)
        with phase.autocast():
            image = model.encode_image(phase.channels_last(images))
            text = model.encode_text(tokens)
        image = image.float()
        text = text.float()
        answers = attributes[torch.from_numpy(rows)].to(phase.device)
        parts = auxiliary(image).split(at.CARDINALITIES, 1)
        pairs = list(zip(parts, answers.T, strict=True))
        losses = torch.stack([functional.cross_entropy(part, answer) for part, answer in pairs])
        units = [functional.normalize(embedding, dim=-1) for embedding in (image, text)]
        contrast = contrastive_loss(units[0], units[1], model.logit_scale)
        right = [(part.argmax(1) == answer).float().mean().item() for part, answer in pairs]
        metrics = {"contrast": contrast.item(), **dict(zip(at.NAMES, right, strict=True))}
        return contrast + 2 * (losses * weights).sum(), metrics

    optimize(
        phase,
        [*model.parameters(), *auxiliary.parameters()],
        loss_of,
        rows=len(flowers.images),
        batch=192,
        samples=samples,
        lr=2e-3,
        weight_decay=0.05,
        after=capped(model.logit_scale),
    )
    return model.eval()


def train_student_clip(
    phase: Phase, flowers: CaptionedFlowers, tokenizer: Tokenizer, teacher: CLIP, samples: int
) -> dict[str, Tensor]:
    """The student CLIP: trunk, projection and logit scale, against the teacher's text tower."""
    manual_seed(phase.seed, "embedded", phase.name)
    trunk = phase.place(PetalCNN())
    projection = nn.Linear(trunk.num_features, EMBED_DIM, bias=False).to(phase.device)
    log_scale = nn.Parameter(torch.tensor(3.5, device=phase.device))
    rng = numpy_rng(phase.seed, "embedded", phase.name, "captions")
    texts = encode_captions(phase, flowers, tokenizer, teacher, rng)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(turned(pixels(flowers.images[rows], phase.device)))
        with phase.autocast():
            image = projection(trunk(phase.channels_last(images)))
        text = texts[torch.from_numpy(rows)].to(phase.device)
        return contrastive_loss(functional.normalize(image.float(), dim=-1), text, log_scale), {}

    optimize(
        phase,
        [*trunk.parameters(), *projection.parameters(), log_scale],
        loss_of,
        rows=len(flowers.images),
        batch=384,
        samples=samples,
        lr=3e-3,
        weight_decay=0.02,
        after=capped(log_scale),
    )
    state = {f"trunk.{name}": tensor for name, tensor in trunk.state_dict().items()}
    return {**state, "proj.weight": projection.weight, "logit_scale": log_scale}


def train_student_generic(
    phase: Phase, flowers: CaptionedFlowers, samples: int
) -> dict[str, Tensor]:
    """The generic trunk: 32 labels, color x shape."""
    manual_seed(phase.seed, "embedded", phase.name)
    colors = at.CARDINALITIES[at.COLOR]
    shapes = at.CARDINALITIES[at.SHAPE]
    trunk = phase.place(PetalCNN(num_classes=colors * shapes))
    color, shape = (flowers.attributes[:, column] for column in (at.COLOR, at.SHAPE))
    labels = torch.from_numpy(color * shapes + shape)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, dict[str, float]]:
        images = shifted(turned(pixels(flowers.images[rows], phase.device)))
        with phase.autocast():
            logits = trunk(phase.channels_last(images))
        target = labels[torch.from_numpy(rows)].to(phase.device)
        right = (logits.argmax(1) == target).float().mean().item()
        return functional.cross_entropy(logits.float(), target), {"top1": right}

    optimize(
        phase,
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
    phase: Phase, pictures: Pictures, tokenizer: Tokenizer, teacher: CLIP, rng: np.random.Generator
) -> Tensor:
    """One random caption of every picture as a unit text embedding (N, D)."""
    out = []
    for start in range(0, len(pictures.images), 1000):
        rows = range(start, min(start + 1000, len(pictures.images)))
        with phase.autocast():
            text = teacher.encode_text(tokenizer(pictures.captions(rng, rows)).to(phase.device))
        out.append(functional.normalize(text.float(), dim=-1))
    return torch.cat(out)
