"""The shipped model in the field: images of no class, and test images that got worse on the way.

Nothing is chosen here. Score and threshold of rejection are the bundle's, set at export without a
test image; AUROC and false positives at 95 % true positives need no threshold. Noise and flat
frames are of the kinds that the score was chosen on, by other seeds; broken frames, images of
``bench.unknown`` and the classes of test images that are taken away are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.bench.unknown import unknown_images
from compress.bench.variants import student
from compress.data.artifact import TEST, DataArtifact, ImageSet
from compress.data.augment import sampled
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.threads import threads_each
from compress.evaluate.corruptions import CORRUPTIONS, SEVERITIES, broken_frames, corrupted
from compress.evaluate.detection import detection
from compress.evaluate.metrics import wilson
from compress.evaluate.temperature import at_temperature
from export.artifact import ExportArtifact
from export.confidence.choose import LEAST_CLASSES, without_own_class
from export.confidence.outliers import outliers
from runtime import Classifier, normalize
from runtime.classifier import softmax
from runtime.learning.calibration import Answers
from runtime.rejection import Rejection

WANTED = 256  # test images at most
OF_A_KIND = 64  # made images
SHOWN = 12  # pictures that are kept although they show no class
BATCH = 32
FLAT, NOISE, BROKEN = "flat and black frames", "noise", "broken frames"
OTHER, LEFT_OUT = "images of other things", "a class that is left out"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Field:
    """field.json, and the pictures of unknown images that pass: ``(P, S, S, 3)``."""

    rejection: Mapping[str, Any] | None
    stress: Mapping[str, Any] | None
    pictures: Pixels

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return {"rejection": self.rejection, "stress": self.stress}


def measure_field(ctx: StageContext, precision: str) -> Field:
    """Measures the model ``precision`` of the run's bundle."""
    classifier = student(
        ExportArtifact(ctx.inputs["export"].path), threads_each(ctx.host), precision
    )
    tests = DataArtifact(ctx.inputs["data"].path).images(TEST)
    if not len(tests):
        return Field(None, None, np.zeros((0, 1, 1, 3), np.uint8))
    with ctx.progress.task("in the field", total=2, unit="series") as task:
        rejection, pictures = _rejection(ctx, classifier, tests)
        task.advance()
        stress = _stress(ctx, classifier, tests)
        task.advance()
    return Field(rejection, stress, pictures)


def answers(classifier: Classifier, pixels: Pixels) -> Answers:
    """Logits and, where the model has them, features of images ``(N, S, S, 3)``."""
    has = classifier.has_features
    names = ("logits", "features") if has else ("logits",)
    parts = [
        classifier.runner.run_all(normalize(pixels[start : start + BATCH], classifier.spec), names)
        for start in range(0, len(pixels), BATCH)
    ]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
    none = np.zeros((len(pixels), 0), np.float32)
    return Answers(whole["logits"], whole.get("features", none))


def _rejection(
    ctx: StageContext, classifier: Classifier, tests: ImageSet
) -> tuple[dict[str, Any] | None, Pixels]:
    """How well the bundle's score tells test images from images of no class, kind by kind."""
    edge = classifier.spec.size
    none = np.zeros((0, edge, edge, 3), np.uint8)
    rule = classifier.rejection
    if rule is None:
        return None, none
    rows = sampled(tests.labels, WANTED, derive(ctx.seed, "field", "wanted"))
    images, labels = np.asarray(tests.pixels[rows]), tests.labels[rows]
    seed = derive(ctx.seed, "field")
    kinds: dict[str, Pixels] = {
        NOISE: outliers("noise", OF_A_KIND, edge, images, seed),
        FLAT: outliers("flat", OF_A_KIND, edge, images, seed),
        BROKEN: broken_frames(images, OF_A_KIND, seed),
    }
    others = unknown_images(ctx.settings, classifier.spec)
    if others is not None:
        kinds[OTHER] = others
    wanted = answers(classifier, images)
    ours = rule.scores(wanted.logits, wanted.features)
    kept = int((ours >= rule.threshold).sum())
    table = {}
    passed: list[tuple[float, str, Pixels, NDArray[np.float32]]] = []
    for kind, pixels in kinds.items():
        found = answers(classifier, pixels)
        theirs = rule.scores(found.logits, found.features)
        table[kind] = _row(ours, theirs, rule.threshold)
        rows_in = np.flatnonzero(theirs >= rule.threshold)
        passed += [(float(theirs[i]), kind, pixels[i], found.logits[i]) for i in rows_in]
    if len(classifier.labels) >= LEAST_CLASSES:
        left = without_own_class(rule.score, wanted, labels, rule.prototypes, dict(rule.scales))
        table[LEFT_OUT] = _row(ours, left, rule.threshold)
    passed.sort(key=lambda one: -one[0])
    shown = passed[:SHOWN]
    return {
        "score": rule.score,
        "threshold": rule.threshold,
        "keep": rule.keep,
        "wanted": len(rows),
        "kept": kept / len(rows),
        "kept_ci95": list(wilson(kept, len(rows))),
        "kinds": table,
        "pictures": [_named(classifier, rule, *one) for one in shown],
    }, np.stack([one[2] for one in shown]) if shown else none


def _row(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], threshold: float
) -> dict[str, Any]:
    """AUROC and false positives, and the share that the bundle's own threshold lets pass."""
    return {**asdict(detection(ours, theirs)), "passed": float((theirs >= threshold).mean())}


def _named(
    classifier: Classifier,
    rule: Rejection,
    score: float,
    kind: str,
    pixels: Pixels,
    logits: NDArray[np.float32],
) -> dict[str, Any]:
    shares = softmax(at_temperature(logits[None], classifier.temperature))[0]
    best = int(shares.argmax())
    about = {"kind": kind, "label": classifier.labels[best]}
    return {**about, "confidence": float(shares[best]), "above": score - rule.threshold}


def _stress(ctx: StageContext, classifier: Classifier, tests: ImageSet) -> dict[str, Any] | None:
    """Accuracy, and the share that stays known, of the same images at every severity."""
    most = ctx.settings.bench.stress_images
    if not most:
        return None
    rows = sampled(tests.labels, most, derive(ctx.seed, "field", "stress"))
    images, labels = np.asarray(tests.pixels[rows]), tests.labels[rows]
    kinds = {
        kind: [
            {
                "severity": severity,
                "strength": CORRUPTIONS[kind].strengths[severity - 1],
                **_accuracy(
                    classifier,
                    np.stack(
                        [
                            corrupted(image, kind, severity, derive(ctx.seed, "stress", int(row)))
                            for row, image in zip(rows, images, strict=True)
                        ]
                    ),
                    labels,
                ),
            }
            for severity in range(1, SEVERITIES + 1)
        ]
        for kind in CORRUPTIONS
    }
    return {"n": len(rows), "clean": _accuracy(classifier, images, labels), "kinds": kinds}


def _accuracy(classifier: Classifier, pixels: Pixels, labels: NDArray[np.int64]) -> dict[str, Any]:
    found = answers(classifier, pixels)
    right = int((found.logits.argmax(axis=1) == labels).sum())
    rule = classifier.rejection
    known = None
    if rule is not None:
        known = float(rule.known(found.logits, found.features).mean())
    return {"top1": right / len(labels), "ci95": list(wilson(right, len(labels))), "known": known}
