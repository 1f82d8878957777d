"""Which settings to generate with: a few images from each candidate, looked at by the teacher,
before the bulk.

Three numbers per candidate, all in the teacher's space, images and shots alike in its own geometry:

    agreement    share of images whose nearest class text (the zero-shot head) is their class, in
                 [0, 1]
    diversity    1 - cos, mean over the pairs of a class, then over the classes, in [0, 2]
    gap          1 - cos between the mean image and the mean shot of a class, mean over the classes;
                 None without shots

    score = agreement + diversity_weight * min(1, diversity / diversity of the shots) - gap_weight *
    gap

Agreement alone would choose wrongly: strong guidance makes images the teacher is sure of and all
    alike, and in the
embedded world a student gained nothing from the ten points of agreement that more guidance gave.
Diversity beyond that of the shots is not paid for. With fewer than two shots per class the most
diverse candidate is the measure. The score and its weights are our choice [I]; it ranks candidates
of one run and compares to nothing else.

All candidates draw their images with the same seeds, so that they differ by their settings and not
by chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings, ProbingSettings, resolve
from compress.engine.errors import ConfigError
from compress.engine.store import write_json
from compress.evaluate.metrics import domain_gap, within_class_diversity
from compress.generate.base import Sources, wants_images

CHUNK = 256  # images
FIXED = ("per_class", "synth_ratio", "probing")  # how much is made, which no small sample can tell


@dataclass(frozen=True)
class Choice:
    """What was probed.

    Attributes:
        settings: of the best candidate; what the bulk is made with.
        facts: one row per candidate, and which was chosen; None where nothing was probed.
    """

    settings: GenerateSettings
    facts: dict[str, Any] | None


def candidates(settings: GenerateSettings) -> list[GenerateSettings]:
    """The settings to choose from, in order: those of ``probing.candidates``, or these alone.

    Raises:
        ConfigError: an override that names no setting of generate, or one that cannot be probed, or
            a wrong value.
    """
    made: list[GenerateSettings] = []
    if not wants_images(settings):
        return [settings]
    for overrides in settings.probing.candidates:
        fixed = [name for name in overrides if name in FIXED]
        if fixed:
            raise ConfigError(
                "a candidate of generate.probing changes what probing cannot compare",
                got=f"generate.{fixed[0]}",
                expected=f"settings of generate besides {', '.join(FIXED)}",
            )
        alone = {
            "generate": {
                **settings.model_dump(mode="json"),
                "probing": ProbingSettings().model_dump(mode="json"),
            }
        }
        made.append(resolve(alone, {"generate": overrides}).generate)
    return made or [settings]


def choose(
    settings: GenerateSettings,
    sources: Sources,
    draw: Callable[[GenerateSettings, int], NDArray[np.uint8]],
    kept: Path,
) -> Choice:
    """Probes the candidates, if there are any, and returns the best; of equals the first.

    Args:
        draw: settings and n -> n images of each class ``(n * K, C, C, 3)``, row ``j * K + c`` image
            j of class c.
        kept: JSON file with what was measured, the shots first; candidates in it are not made
            again.
    """
    if not settings.probing.candidates or not wants_images(settings):
        return Choice(settings, None)
    offered, per_class = candidates(settings), settings.probing.per_class
    measured: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    if len(measured) <= len(offered):
        judge = Judge(sources)
        measured = measured or [judge.shots()]
        for candidate in offered[len(measured) - 1 :]:
            measured.append(_measured(judge, draw, candidate, per_class))
            write_json(kept, measured)
    rows = scored(measured[1:], measured[0]["diversity"], settings.probing)
    able = [position for position, row in enumerate(rows) if "refused" not in row]
    if not able:
        raise ConfigError(
            "no candidate of generate.probing can be made",
            got=rows[0]["refused"],
            expected="one that fits the run",
            remedy="--set generate.probing.candidates=[] and one strategy that fits",
        )
    best = max(able, key=lambda position: rows[position]["score"])
    named = [
        {"candidate": dict(overrides), **row}
        for overrides, row in zip(settings.probing.candidates, rows, strict=True)
    ]
    weights = settings.probing
    facts = {
        "rows": named,
        "chosen": best,
        "per_class": per_class,
        "score": f"agreement + {weights.diversity_weight:g} * diversity_ratio - "
        f"{weights.gap_weight:g} * gap",
        "shots_diversity": measured[0]["diversity"],
    }
    return Choice(offered[best], facts)


def _measured(
    judge: Judge,
    draw: Callable[[GenerateSettings, int], NDArray[np.uint8]],
    candidate: GenerateSettings,
    per_class: int,
) -> dict[str, Any]:
    """What the judge says of a candidate, or why there is nothing to judge (img2img without shots,
    for one).
    """
    try:
        images = draw(candidate, per_class)
    except ConfigError as error:
        return {"refused": str(error)}
    return judge.measure(images)


class Judge:
    """The run's teacher with its zero-shot head, and what it sees in the shots."""

    def __init__(self, sources: Sources) -> None:
        from compress.teacher.prompts import expand_all

        self.teacher = sources.teacher()
        self.head = self.teacher.class_head(expand_all(sources.templates, sources.classes))
        self.real, self.labels = self._features(sources.shots), sources.labels

    def shots(self) -> dict[str, Any]:
        """The diversity of the shots."""
        return {"diversity": within_class_diversity(self.real, self.labels)}

    def measure(self, images: NDArray[np.uint8]) -> dict[str, Any]:
        """Agreement, diversity and domain gap of images in rows ``j * K + c``."""
        features, classes = self._features(images), len(self.head)
        labels = np.arange(len(features)) % classes
        return {
            "agreement": float(((features @ self.head.T).argmax(axis=1) == labels).mean()),
            "diversity": within_class_diversity(features, labels),
            "gap": domain_gap(features, labels, self.real, self.labels),
        }

    def _features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` -> unit rows ``(N, D)``; the enlarged images of one chunk at a time are
        in memory.
        """
        from compress.teacher.stage import fit_geometry

        out = np.empty((len(images), self.head.shape[1]), np.float32)
        for start in range(0, len(images), CHUNK):
            chunk = fit_geometry(np.asarray(images[start : start + CHUNK]), self.teacher.spec)
            out[start : start + CHUNK] = self.teacher.encode_images(chunk)
        return out


def scored(
    rows: Sequence[Mapping[str, Any]], shots_diversity: float | None, weights: ProbingSettings
) -> list[dict[str, Any]]:
    """The rows with ``diversity_ratio`` and ``score``, as in the head of this file; refused ones as
    they are.
    """
    measure = shots_diversity or max((row.get("diversity") or 0.0 for row in rows), default=0.0)
    out: list[dict[str, Any]] = []
    for row in rows:
        if "refused" in row:
            out.append(dict(row))
            continue
        ratio = min(1.0, (row["diversity"] or 0.0) / measure) if measure > 0 else 0.0
        score = (
            row["agreement"]
            + weights.diversity_weight * ratio
            - weights.gap_weight * (row["gap"] or 0.0)
        )
        out.append({**row, "diversity_ratio": ratio, "score": score})
    return out
