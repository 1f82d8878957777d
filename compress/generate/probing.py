"""Which settings to generate with: the teacher measures a few images of each candidate first.

Three numbers per candidate, in the teacher's space, images and shots alike in its own geometry:

    agreement    share of images whose nearest class text (the zero-shot head) is their class, in
                 [0, 1]
    diversity    1 - cos, mean over the pairs of a class, then over the classes, in [0, 2]
    gap          1 - cos between the mean image and the mean shot of a class, mean over the classes;
                 None without shots

    score = agreement + diversity_weight * min(1, diversity / diversity of the shots)
            - gap_weight * gap

Agreement alone misleads: strong guidance gives images that the teacher is sure of and that all look
alike, and in the embedded world a student gained nothing from the ten points of agreement that more
guidance gave. Diversity beyond that of the shots counts no further. With fewer than two shots per
class the most diverse candidate takes their place. The score and its weights are our choice; it
ranks the candidates of one run and compares to nothing else.

All candidates use the same seeds, those of the bulk: they differ by their settings and not by
chance, and the images of the best are the first of the bulk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings, ProbingSettings, resolve
from compress.engine.errors import ConfigError
from compress.engine.executors.spans import make_spans
from compress.engine.partial import keep_json
from compress.engine.stage import StageContext
from compress.evaluate.diversity import domain_gap, within_class_diversity
from compress.generate.artifact import PROBING
from compress.generate.probe_work import ProbeWork
from compress.generate.shards import ShardWork
from compress.generate.sources import Sources
from compress.generate.strategies.table import generates_images
from compress.generate.tools import ToolCache

CHUNK = 256  # images encoded at once
FIXED = ("per_class", "synth_ratio", "probing")  # the amount of images, which no sample can judge


class Measures(TypedDict, total=False):
    """What probing knows of a candidate, as it is stored and reported."""

    agreement: float
    diversity: float | None
    gap: float | None
    diversity_ratio: float
    score: float
    refused: str  # why it has no images


@dataclass(frozen=True)
class ProbingResult:
    """The best candidate, and what the report says of all; None if nothing was probed."""

    settings: GenerateSettings
    facts: Mapping[str, object] | None


def candidates(settings: GenerateSettings) -> list[GenerateSettings]:
    """The settings to compare, in order: ``probing.candidates``, or these settings alone.

    Raises:
        ConfigError: an override that names no setting of generate or cannot be probed; a value.
    """
    if not (generates_images(settings) and settings.probing.candidates):
        return [settings]
    plain = settings.model_copy(update={"probing": ProbingSettings()}).model_dump(mode="json")
    offered = []
    for overrides in settings.probing.candidates:
        fixed = [name for name in overrides if name in FIXED]
        if fixed:
            raise ConfigError(
                "a candidate of generate.probing changes what probing cannot compare",
                got=f"generate.{fixed[0]}",
                expected=f"settings of generate besides {', '.join(FIXED)}",
            )
        offered.append(resolve({"generate": plain}, {"generate": overrides}).generate)
    return offered


def probe(ctx: StageContext, sources: Sources, tools: ToolCache) -> ProbingResult:
    """Measures the candidates, if there are any, and returns the best; the first of equals.

    What is measured stays for a resumed run, the diversity of the shots first.

    Raises:
        ConfigError: no candidate can generate images.
    """
    settings, cache = ctx.settings.generate, ctx.partial / PROBING
    if not (generates_images(settings) and settings.probing.candidates):
        return ProbingResult(settings, None)
    offered = candidates(settings)
    weights = settings.probing
    images = weights.per_class * len(sources.classes)
    work = ProbeWork(ctx, offered, images, held=(sources, tools))
    if cache.exists():
        measured: list[Measures] = json.loads(cache.read_text(encoding="utf-8"))
    else:
        answers = work.answers(make_spans(work))
        teacher = TeacherMeasures(sources, work)
        measured = [{"diversity": within_class_diversity(teacher.real, teacher.labels)}]
        for answer in answers:
            if isinstance(answer, str):
                measured.append({"refused": answer})
            else:
                measured.append(teacher.measure(answer))
        keep_json(cache, measured)
    shots_diversity = measured[0]["diversity"]
    rows = scored(measured[1:], shots_diversity, weights)
    able = [position for position, row in enumerate(rows) if "refused" not in row]
    if not able:
        raise ConfigError(
            "no candidate of generate.probing can be made",
            got=rows[0]["refused"],
            expected="one that fits the run",
            remedy="--set generate.probing.candidates=[] and one strategy that fits",
        )
    best = max(able, key=lambda position: rows[position]["score"])
    work.keep(best, ShardWork(ctx, offered[best], held=(sources, tools)))
    facts = {
        "rows": [
            {"candidate": dict(overrides), **row}
            for overrides, row in zip(weights.candidates, rows, strict=True)
        ],
        "chosen": best,
        "per_class": weights.per_class,
        "score": f"agreement + {weights.diversity_weight:g} * diversity_ratio - "
        f"{weights.gap_weight:g} * gap",
        "shots_diversity": shots_diversity,
    }
    return ProbingResult(offered[best], facts)


def scored(
    rows: Sequence[Measures], shots_diversity: float | None, weights: ProbingSettings
) -> list[Measures]:
    """The rows with ``diversity_ratio`` and ``score``; refused ones unchanged."""
    reference = shots_diversity or max((row.get("diversity") or 0.0 for row in rows), default=0.0)
    out: list[Measures] = []
    for row in rows:
        if "refused" not in row:
            ratio = min(1.0, (row["diversity"] or 0.0) / reference) if reference > 0 else 0.0
            gain = row["agreement"] + weights.diversity_weight * ratio
            score = gain - weights.gap_weight * (row["gap"] or 0.0)
            row = {**row, "diversity_ratio": ratio, "score": score}
        out.append(row)
    return out


class TeacherMeasures:
    """Measures images with the run's teacher, its zero-shot head and its features of the shots."""

    def __init__(self, sources: Sources, work: ProbeWork) -> None:
        from compress.teacher.prompts import prompts_for

        prompts = prompts_for(sources.classes, sources.templates)
        self.head = sources.teacher().class_head(prompts)
        starts = range(0, len(sources.shots), CHUNK)  # one enlarged chunk in memory at a time
        rows = [work.features(np.asarray(sources.shots[at : at + CHUNK])) for at in starts]
        none = np.empty((0, self.head.shape[1]), np.float32)
        self.real: NDArray[np.float32] = np.concatenate([none, *rows])
        self.labels = sources.labels

    def measure(self, features: NDArray[np.float32]) -> Measures:
        """Agreement, diversity and domain gap of images' features in rows ``j * K + c``."""
        labels = np.arange(len(features)) % len(self.head)
        return {
            "agreement": float(((features @ self.head.T).argmax(axis=1) == labels).mean()),
            "diversity": within_class_diversity(features, labels),
            "gap": domain_gap(features, labels, self.real, self.labels),
        }
