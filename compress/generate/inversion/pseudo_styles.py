"""Styles that are learned: vectors in the place of a style word, trained against a frozen text
tower (methods.md C.3, E.3).

With ``q[i, c]`` the feature of class c in style i and ``e[c]`` that of its plain name,

    infonce        L_ins: among all styles in class c', the one that matches style i in class c is
                   style i (the style is the same whatever it is a style of, and styles differ);
                   L_cat, times gamma: among all classes, q[i, c] is class c.  System E's dictionary
                                                                               is gamma = 0.
    promptstyler   one style after the other: |cos| to the earlier styles, averaged, plus L_cat over
                   all classes (PromptStyler, ICCV 2023; its values are 100 steps a style, SGD 0.002
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
from compress.teacher.clip import Teacher
from compress.teacher.pseudo_words import Slots, encode

MOMENTUM = 0.9  # of promptstyler [C]
STATISTICS_CLASSES = 8  # at most, for `statistics`


@dataclass(frozen=True)
class Lesson:
    """What styles are learned from.

    Attributes:
        teacher: its frozen text tower.
        classes: a prompt with a place per class, ``(K, L)``.
        bare: the same prompt without a class, ``(1, L)``.
        names: unit features ``(K, D)`` of the plain class names.
        seed: of the pairs of classes.
    """

    teacher: Teacher
    classes: Slots
    bare: Slots
    names: Tensor
    seed: int


def infonce(
    lesson: Lesson, vectors: Tensor, settings: PromptSettings, category_weight: float
) -> Tensor:
    """``vectors`` ``(M, d)`` after ``settings.steps`` steps of Adam on ``L_ins + category_weight *
    L_cat``.
    """
    learned = vectors.clone().requires_grad_()
    optimizer = torch.optim.Adam([learned], settings.lr)
    rng = numpy_rng(lesson.seed, "pseudo_styles", "pairs")
    styles, classes = len(vectors), len(lesson.names)
    same = torch.arange(styles, device=vectors.device)
    for _ in range(settings.steps):
        one, other = (int(c) for c in rng.choice(classes, 2, replace=classes < 2))
        made = encode(
            lesson.teacher,
            lesson.classes.rows([one] * styles + [other] * styles),
            learned.repeat(2, 1),
        )
        here, there = made.split(styles)
        loss = functional.cross_entropy(here @ there.T / settings.temperature, same)
        if category_weight:
            wanted = torch.tensor([one, other], device=vectors.device).repeat_interleave(styles)
            loss = loss + category_weight * functional.cross_entropy(
                made @ lesson.names.T / settings.temperature, wanted
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return learned.detach()


def promptstyler(
    lesson: Lesson, vectors: Tensor, settings: PromptSettings, category_weight: float
) -> Tensor:
    """``vectors`` ``(M, d)``, each after ``settings.steps`` steps of SGD against the ones before
    it.
    """
    finished: list[Tensor] = []
    earlier = lesson.names.new_empty(0, lesson.names.shape[1])
    wanted = torch.arange(len(lesson.names), device=vectors.device)
    for vector in vectors:
        learned = vector.clone().requires_grad_()
        optimizer = torch.optim.SGD([learned], settings.lr, momentum=MOMENTUM)
        for _ in range(settings.steps):
            made = encode(lesson.teacher, lesson.classes, learned.expand(len(wanted), -1))
            loss = category_weight * functional.cross_entropy(
                made @ lesson.names.T / settings.temperature, wanted
            )
            if finished:
                style = encode(lesson.teacher, lesson.bare, learned[None])
                loss = loss + (style @ earlier.T).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        finished.append(learned.detach())
        with torch.no_grad():
            earlier = torch.cat([earlier, encode(lesson.teacher, lesson.bare, finished[-1][None])])
    return torch.stack(finished)


# contrastive -> how the vectors learn.
LEARNERS: dict[str, Callable[[Lesson, Tensor, PromptSettings, float], Tensor]] = {
    "infonce": infonce,
    "promptstyler": promptstyler,
}


@torch.no_grad()
def statistics(lesson: Lesson, vectors: Tensor) -> dict[str, float]:
    """``style_cosine``: mean over classes of |cos| between two styles' features of a class;
    ``class_accuracy``: how often the nearest plain class name is the right one. Over the first
        classes, all styles.
    """
    classes = range(min(STATISTICS_CLASSES, len(lesson.names)))
    cosines, right = [], []
    others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    for number in classes:
        made = encode(lesson.teacher, lesson.classes.rows([number] * len(vectors)), vectors)
        cosines.append(
            (made @ made.T).abs()[others].mean() if len(vectors) > 1 else made.new_zeros(())
        )
        right.append(((made @ lesson.names.T).argmax(1) == number).float().mean())
    return {
        "style_cosine": round(torch.stack(cosines).mean().item(), 4),
        "class_accuracy": round(torch.stack(right).mean().item(), 4),
    }
