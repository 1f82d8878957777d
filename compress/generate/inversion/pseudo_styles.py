"""Learned styles: vectors in the place of a style word, trained against a frozen text tower.

With ``q[i, c]`` the feature of class c in style i and ``e[c]`` that of its plain name:

    infonce        L_ins: among all styles in class c', the match of style i in class c is style i
                   (a style is the same in every class, and styles differ); gamma * L_cat: among all
                   classes, q[i, c] is class c. CVLM's dictionary has gamma = 0. Our reading of
                   Contrastive-Prompt (arXiv 2407.15155), whose formulas we could not read.
    promptstyler   one style after the other: mean |cos| to the earlier styles, plus L_cat over all
                   classes (PromptStyler, ICCV 2023; its values are 100 steps a style, SGD 0.002
                   with momentum 0.9)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from compress.engine.config import PromptSettings
from compress.engine.seeds import numpy_rng
from compress.teacher.clip import ClipTeacher
from compress.teacher.pseudo_words import Slots, encode

MOMENTUM = 0.9  # of PromptStyler
STATISTICS_CLASSES = 8  # at most, for `statistics`


@dataclass(frozen=True)
class StylePrompts:
    """The prompts that styles are learned in.

    Attributes:
        teacher: its frozen text tower.
        classes: a prompt per class with a place for the style, ``(K, L)``.
        bare: the same prompt without a class, ``(1, L)``.
        names: unit features ``(K, D)`` of the plain class names.
        seed: of the pairs of classes.
    """

    teacher: ClipTeacher
    classes: Slots
    bare: Slots
    names: Tensor
    seed: int

    def encode(self, class_ids: list[int], vectors: Tensor) -> Tensor:
        """Unit features ``(N, D)`` of classes in the style of ``vectors`` ``(N, d)``."""
        return encode(self.teacher, self.classes.rows(class_ids), vectors)

    def encode_bare(self, vector: Tensor) -> Tensor:
        """The unit feature ``(1, D)`` of a style ``(d,)`` without a class."""
        return encode(self.teacher, self.bare, vector[None])

    def category_loss(self, features: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """L_cat: cross-entropy of ``features`` ``(N, D)`` against the plain class names."""
        return functional.cross_entropy(features @ self.names.T / temperature, labels)


def infonce(
    prompts: StylePrompts, vectors: Tensor, settings: PromptSettings, category_weight: float
) -> Tensor:
    """``vectors`` ``(M, d)`` after steps of Adam on ``L_ins + category_weight * L_cat``."""
    learned = vectors.clone().requires_grad_()
    optimizer = torch.optim.Adam([learned], settings.lr)
    rng = numpy_rng(prompts.seed, "pseudo_styles", "pairs")
    styles = len(vectors)
    classes = len(prompts.names)
    same = torch.arange(styles, device=vectors.device)
    for _ in range(settings.steps):
        one, other = (int(c) for c in rng.choice(classes, 2, replace=classes < 2))
        features = prompts.encode([one] * styles + [other] * styles, learned.repeat(2, 1))
        here, there = features.split(styles)
        loss = functional.cross_entropy(here @ there.T / settings.temperature, same)
        if category_weight:
            labels = torch.tensor([one, other], device=vectors.device).repeat_interleave(styles)
            category = prompts.category_loss(features, labels, settings.temperature)
            loss = loss + category_weight * category
        _step(optimizer, loss)
    return learned.detach()


def promptstyler(
    prompts: StylePrompts, vectors: Tensor, settings: PromptSettings, category_weight: float
) -> Tensor:
    """``vectors`` ``(M, d)``, each after ``settings.steps`` SGD steps against the earlier ones."""
    finished: list[Tensor] = []
    earlier = prompts.names.new_empty(0, prompts.names.shape[1])
    labels = torch.arange(len(prompts.names), device=vectors.device)
    for vector in vectors:
        learned = vector.clone().requires_grad_()
        optimizer = torch.optim.SGD([learned], settings.lr, momentum=MOMENTUM)
        for _ in range(settings.steps):
            features = encode(prompts.teacher, prompts.classes, learned.expand(len(labels), -1))
            category = prompts.category_loss(features, labels, settings.temperature)
            loss = category_weight * category
            if finished:
                loss = loss + (prompts.encode_bare(learned) @ earlier.T).abs().mean()
            _step(optimizer, loss)
        finished.append(learned.detach())
        with torch.no_grad():
            earlier = torch.cat([earlier, prompts.encode_bare(finished[-1])])
    return torch.stack(finished)


# generate.prompts.contrastive -> how the vectors learn.
LEARNERS: dict[str, Callable[[StylePrompts, Tensor, PromptSettings, float], Tensor]] = {
    "infonce": infonce,
    "promptstyler": promptstyler,
}


@torch.no_grad()
def statistics(prompts: StylePrompts, vectors: Tensor) -> dict[str, float]:
    """How far apart the styles ``(M, d)`` are, and how well they keep the class.

    ``style_cosine``: mean |cos| between the features of one class in two styles;
    ``class_accuracy``: share whose nearest plain class name is the right one. Over all styles and
    the first `STATISTICS_CLASSES` classes.
    """
    cosines = []
    right = []
    others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    for number in range(min(STATISTICS_CLASSES, len(prompts.names))):
        features = prompts.encode([number] * len(vectors), vectors)
        pairs = (features @ features.T).abs()[others]
        cosines.append(pairs.mean() if len(vectors) > 1 else features.new_zeros(()))
        right.append(((features @ prompts.names.T).argmax(1) == number).float().mean())
    return {
        "style_cosine": round(torch.stack(cosines).mean().item(), 4),
        "class_accuracy": round(torch.stack(right).mean().item(), 4),
    }


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
