"""Measures a bundle's confidence: a temperature and a way of rejection for each of its models.

The result is the part "confidence" of the manifest, read by ``runtime.files.confidence``.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import DataArtifact
from compress.engine.stage import StageContext
from compress.evaluate.temperature import at_temperature, cross_entropy, fit_temperature
from export.confidence.choose import choose, judge, judge_left_one_out, threshold, used_scales
from export.confidence.document import Confidence
from export.confidence.outliers import MAKERS, outliers
from export.confidence.wanted import (
    HELD_OUT,
    LEFT_ONE_OUT,
    PrototypeViews,
    Targets,
    Wanted,
    prototype_views,
    targets_of,
    wanted_images,
)
from runtime import PreprocessSpec, normalize
from runtime.backends import Runner
from runtime.backends import load as load_model
from runtime.bundle import FEATURES
from runtime.files.confidence import PROTOTYPES
from runtime.host import telemetry
from runtime.learning.calibration import Answers, prototypes_of, rounded, scale_from

JUDGED = ("fp32", "int8")  # models that are run; the others of a bundle compute what these do
SAME = {"int8.trt": "int8"}  # the same network in another engine's form
BATCH = 16
OF_A_KIND = 32  # made outliers

Floats = NDArray[np.float32]


def fit_confidence(
    ctx: StageContext, files: Mapping[str, Path], spec: PreprocessSpec
) -> Confidence:
    """Runs the files ``fp32`` and ``int8`` on images that are neither shots nor test images."""
    models = {name: Model(files[name], spec) for name in JUDGED if name in files}
    wanted = wanted_images(ctx)
    targets = targets_of(ctx, wanted)
    document: dict[str, Any] = {}
    if targets is not None:
        document["temperature"] = _temperatures(models, targets, wanted)
    prototypes = None
    if wanted is not None:
        views = prototype_views(ctx)
        document["rejection"], prototypes = _rejection(ctx, models, wanted, views)
        if views is not None and prototypes is not None:
            document["classes"] = _class_scales(models, views, prototypes)
    for part in document.values():
        rows = part["models"]
        part["models"] = {
            **rows,
            **{a: rows[b] for a, b in SAME.items() if a in files and b in rows},
        }
    return Confidence(document, prototypes)


class Model:
    """A file in onnxruntime; images are run once for all that asks.

    Each batch is one thread's: sums that threads share differ in their last bits from run to run,
    and a threshold is an answer of one image.
    """

    def __init__(self, file: Path, spec: PreprocessSpec) -> None:
        self._runner: Runner = load_model("onnxruntime", file, threads=1)
        self._spec = spec
        self._known: dict[int, tuple[NDArray[np.uint8], Answers]] = {}

    def answers(self, pixels: NDArray[np.uint8]) -> Answers:
        """Its outputs on images ``(N, S, S, 3)`` of the student's geometry."""
        if id(pixels) not in self._known:
            with ThreadPoolExecutor(telemetry.usable_cores()) as pool:
                parts = list(pool.map(partial(self._batch, pixels), range(0, len(pixels), BATCH)))
            logits, features = (
                np.concatenate([part[name] for part in parts]) for name in ("logits", FEATURES)
            )
            self._known[id(pixels)] = (pixels, Answers(logits, features))
        return self._known[id(pixels)][1]

    def _batch(self, pixels: NDArray[np.uint8], start: int) -> dict[str, Floats]:
        images = normalize(pixels[start : start + BATCH], self._spec)
        return self._runner.run_all(images, ("logits", FEATURES))


def _temperatures(
    models: Mapping[str, Model], targets: Targets, wanted: Wanted | None
) -> dict[str, Any]:
    found = {}
    losses = {}
    for name, model in models.items():
        logits = model.answers(targets.pixels).logits
        found[name] = fit_temperature(logits, targets.probabilities)
        before, after = (
            cross_entropy(at_temperature(logits, t).astype(np.float64), targets.probabilities)
            for t in (1.0, found[name])
        )
        losses[name] = [float(f"{value:.4g}") for value in (before, after)]
    why = {"because": wanted.why} if wanted is not None and wanted.why else {}
    about = {"fitted_on": targets.source, "n": len(targets.pixels), **why}
    return {"models": found, **about, "nll_before_after": losses}


def _class_scales(
    models: Mapping[str, Model], views: PrototypeViews, prototypes: Floats
) -> dict[str, Any]:
    """What a cosine counts in logits, for classes that are added later."""
    rows = {}
    for name, model in models.items():
        own = model.answers(views.pixels)
        scale = scale_from(own.logits, own.features, views.labels, prototypes)
        if scale > 0:  # NaN is not: a lone class has nothing to be told from
            rows[name] = {"scale": rounded(scale)}
    return {"models": rows, "measured_on": "training images", "n": len(np.unique(views.images))}


def _rejection(
    ctx: StageContext, models: Mapping[str, Model], wanted: Wanted, views: PrototypeViews | None
) -> tuple[dict[str, Any], Floats | None]:
    keep = ctx.settings.export.known_share
    classes = len(DataArtifact(ctx.inputs["data"].path).classes)
    first = next(iter(models.values()))
    prototypes = None
    if views is not None and len(np.unique(views.labels)) == classes:
        prototypes = prototypes_of(first.answers(views.pixels).features, views.labels, classes)
    pixels = wanted.pixels if views is None else views.pixels
    edge = wanted.pixels.shape[1]
    made = {kind: outliers(kind, OF_A_KIND, edge, pixels, ctx.seed) for kind in MAKERS}
    learned = wanted.source == HELD_OUT and views is not None and views.has_several(classes)
    judged = {}
    for name, model in models.items():
        others = {kind: model.answers(images) for kind, images in made.items()}
        if learned and views is not None and prototypes is not None:
            own = model.answers(views.pixels).features
            about = (views.labels, views.images)
            judged[name] = judge_left_one_out(own, *about, others, prototypes)
        else:
            ours = model.answers(wanted.pixels)
            judged[name] = judge(ours, wanted.labels, others, prototypes)
    set_on, count = wanted.source, len(wanted.labels)
    if learned and views is not None:
        set_on, count = LEFT_ONE_OUT, len(views.labels)
    score = choose(judged)
    rows_of = {
        name: {
            "threshold": threshold(one, score, keep),
            "scales": {part: list(pair) for part, pair in used_scales(one, score).items()},
        }
        for name, one in judged.items()
    }
    document = {
        "score": score,
        "keep": keep,
        "models": rows_of,
        "prototypes": None if prototypes is None else PROTOTYPES,
        "set_on": set_on,
        "n": count,
        "others_of_a_kind": OF_A_KIND,
        "auroc": {
            name: {key: {k: round(v, 4) for k, v in row.items()} for key, row in one.auroc.items()}
            for name, one in judged.items()
        },
    }
    return document, prototypes
