"""Where a teacher's head starts: from the texts of its classes, their names, or the shots' means.

    texts    a CLIP: the class texts, anchors of the probe
    names    a network that knows every class by name: the rows of its own classifier
    shots    else: the discriminant of the shots' views, which needs no further probe; a known name
             counts as one shot more

Centering: unit features of a network trained on labels share a large part that no class needs. Over
twelve species of flowers a logistic regression on them gains 5 points with it at 8 shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.data.split import ClassInfo
from compress.engine.errors import ConfigError
from compress.teacher.artifact import unit
from compress.teacher.clip import ClipTeacher
from compress.teacher.discriminant import RIDGE, Fit, Views, best_fit, discriminant
from compress.teacher.named import CHOOSE, Known, known_names
from compress.teacher.prompts import prompts_for
from compress.teacher.teacher import Teacher
from compress.teacher.timm_net import TimmTeacher

MOST_NAMED = 8  # classes in an error


@dataclass(frozen=True)
class Prior:
    """The start of a head.

    Attributes:
        start: float32 (K, D), unit rows.
        zero_shot: float32 (K, D), unit rows if no class needed shots, else None.
        anchored: bool (K,), rows that the probe is pulled back to.
        scale: of cosines with the start, if that is a probe already; None: the teacher's own.
        center: float32 (D,), see ``Head``.
        facts: for the stage's record.
    """

    start: NDArray[np.float32]
    zero_shot: NDArray[np.float32] | None
    anchored: NDArray[np.bool_]
    scale: float | None = None
    center: NDArray[np.float32] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def prior_of(
    teacher: Teacher,
    classes: Sequence[ClassInfo],
    templates: Sequence[str],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    images: NDArray[np.int64],
) -> Prior:
    """The start of a teacher's head.

    Args:
        features: unit rows (n, D) of the shots' views, of classes ``labels`` (n,); none without
            shots.
        images: the shot of each view (n,).

    Raises: ConfigError: a class without text, known name or shot.
    """
    if isinstance(teacher, ClipTeacher):
        prompts = prompts_for(classes, templates)
        texts = teacher.class_head(prompts)
        facts = {"templates": list(templates), "prompts_example": prompts[0]}
        return Prior(texts, texts, np.ones(len(classes), bool), facts=facts)
    assert isinstance(teacher, TimmTeacher)
    classifier = teacher.classifier
    known = known_names(classifier.subset if classifier else None, classes)
    about: dict[str, Any] = {
        **{"names": dict(known.meant), "ambiguous_names": dict(known.ambiguous)},
        "notes": known.notes(),
    }
    if classifier is not None and known.complete:
        named = known.rows(classifier.rows)
        return Prior(named, named, known.mask, facts=about)
    counts = np.bincount(labels, minlength=len(classes))
    require_origin(teacher.name, classes, known, counts > 0)
    center = features.mean(axis=0)
    views = Views(unit(features - center), labels, images, len(classes))
    rows = known.directions(classifier.rows) if classifier is not None else None
    fit = best_fit(views, rows) or Fit(RIDGE, teacher.logit_scale)
    start = discriminant(views, rows, fit.ridge)
    about |= {"ridge": fit.ridge}
    return Prior(start, None, known.mask, fit.scale, center, about)


def require_origin(
    teacher: str,
    classes: Sequence[ClassInfo],
    known: Known,
    has_shots: NDArray[np.bool_] | None = None,
    setting: str | None = None,
) -> None:
    """Raises ConfigError for classes that an image-only teacher has neither shot nor name of.

    Args:
        has_shots: (K,); None: no class has any, or they do not count.
        setting: what needs names even of classes with shots, as a person would write it.
    """
    has_shots = np.zeros(len(classes), bool) if has_shots is None else has_shots
    without = [
        entry.name for entry, one in zip(classes, known.mask | has_shots, strict=True) if not one
    ]
    if not without:
        return
    more = f" and {len(without) - MOST_NAMED} more" if len(without) > MOST_NAMED else ""
    several = [
        f"{name} ({'; '.join(meanings)})"
        for name, meanings in known.ambiguous.items()
        if name in without
    ]
    ambiguous = f"; of several meanings: {', '.join(several[:MOST_NAMED])}" if several else ""
    same = [f"{name} ({what})" for name, what in known.shared.items() if name in without]
    if same:
        ambiguous += f"; several names of one thing: {', '.join(same[:MOST_NAMED])}"
    choose = f"; {CHOOSE}" if several else ""
    unnamed = "" if known.label_set else "; its weights come without a classifier of known names"
    if setting is not None:
        raise ConfigError(
            f"{setting} makes images of the classes whose names {teacher} was trained on",
            got=", ".join(without[:MOST_NAMED]) + more + ambiguous + unnamed,
            expected="names from its label set",
            remedy="other names in classes.yaml, or another generate.strategy" + choose,
        )
    raise ConfigError(
        f"teacher {teacher} has no texts, and these classes have no shots and no name it knows",
        got=", ".join(without[:MOST_NAMED]) + more + ambiguous + unnamed,
        expected="a shot of every class, or a name from its own label set",
        remedy="--data FOLDER --shots 1 or more, or a CLIP teacher: --teacher MODEL/TAG or PATH"
        + choose,
    )
