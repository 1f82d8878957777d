"""Accuracy of every model variant with the exported files, by class, by image and by domain."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from compress.bench.answers import LOGITS, AnswerWork
from compress.bench.artifact import Predictions
from compress.bench.variants import SHIPPING, ModelVariant, student
from compress.data.artifact import TEST, DataArtifact
from compress.data.testsets import TestSets
from compress.engine.errors import ParityError
from compress.engine.executors.spans import make_spans
from compress.engine.stage import StageContext
from compress.evaluate.changes import changes
from compress.evaluate.comparison import paired
from compress.evaluate.metrics import evaluate
from compress.evaluate.temperature import at_temperature
from export.artifact import ExportArtifact
from runtime import PreprocessSpec, open_bundle
from runtime.bench.photos import encoded
from runtime.files.confidence import CONFIDENCE, temperature_of

CHECKED_IMAGES = 8  # test images that go through predict() as encoded files
# variants that further domains are tested with
ELSEWHERE = frozenset({"teacher", "teacher_zero_shot", *SHIPPING})
DOMAIN_METRICS = ("n", "top1", "ci95")
CALIBRATED = ("ece", "nll", "reliability")  # what a temperature changes
PAIRS = {  # name -> (first, second): the report says first minus second
    "int8_vs_fp32": ("student_int8", "student_fp32"),
    "fp32_vs_teacher": ("student_fp32", "teacher"),
    "int8_vs_teacher": ("student_int8", "teacher"),
    "int8_vs_ptq": ("student_int8", "student_ptq"),
    "teacher_vs_zero_shot": ("teacher", "teacher_zero_shot"),
}
CHANGES = ("int8_vs_fp32", "fp32_vs_teacher", "int8_vs_teacher")  # pairs compared class by class
FLIPS = frozenset({"int8_vs_fp32"})  # pairs whose changed images are listed

Logits = NDArray[np.float32]


def measure_accuracy(
    ctx: StageContext, variants: list[ModelVariant], spec: PreprocessSpec
) -> tuple[dict[str, Any], Predictions]:
    """accuracy.json, and the logits over the test split; ``spec`` is the student's."""
    sets = TestSets(ctx)
    everywhere = logits_of(ctx, variants, sets)
    labels, logits = sets.labels(TEST), everywhere[TEST]
    metrics = {name: evaluate(values, labels) for name, values in logits.items()}
    for name, temperature in temperatures(ctx, variants).items():
        if name in metrics:
            honest = evaluate(at_temperature(logits[name], temperature), labels)
            told = {key: honest[key] for key in CALIBRATED}
            metrics[name]["calibrated"] = {"temperature": temperature, **told}
    accuracy = {
        "forms": metrics,
        "paired": {
            name: paired(logits[a], logits[b], labels).plain()
            for name, (a, b) in PAIRS.items()
            if a in logits and b in logits
        },
        "changes": changed(DataArtifact(ctx.inputs["data"].path), logits),
        **by_domain(sets, metrics, everywhere),
    }
    return accuracy, Predictions(labels, logits)


def temperatures(ctx: StageContext, variants: list[ModelVariant]) -> dict[str, float]:
    """The temperature of every model of the bundle that has one, by variant."""
    bundle = open_bundle(ExportArtifact(ctx.inputs["export"].path).bundle, verify=False)
    if CONFIDENCE not in bundle.manifest:
        return {}
    ours = [one for one in variants if one.precision in bundle.models and not one.is_teacher]
    return {one.name: temperature_of(bundle.manifest, one.precision) for one in ours}


def logits_of(
    ctx: StageContext, variants: list[ModelVariant], sets: TestSets
) -> dict[str, dict[str, Logits]]:
    """Test set -> variant -> logits (N, K); nothing for a set without images."""
    out: dict[str, dict[str, Logits]] = {name: {} for name in sets.names}
    for _, group in groupby(variants, key=lambda variant: variant.file):
        outputs = [variant.name for variant in group]
        model = None  # loaded once for all sets; one at a time
        for name in sets.names:
            tested = [one for one in outputs if name == TEST or one in ELSEWHERE]
            if tested and len(sets.images(name)):
                work = AnswerWork(ctx, tested, name, sets, model)
                parts = [load_file(file)[LOGITS] for file in make_spans(work)]
                whole = np.concatenate(parts, axis=1)
                out[name].update(zip(tested, whole, strict=True))
                model = work.loaded
    return out


def changed(data: DataArtifact, logits: Mapping[str, Logits]) -> dict[str, object]:
    """What changes in the pairs of ``CHANGES``, by class and, for ``FLIPS``, by image; JSON-able.

    ``logits``: variant -> (N, K) over the test split.
    """
    tests, names = data.images(TEST), [entry.name for entry in data.classes]
    out: dict[str, object] = {}
    for name in CHANGES:
        a, b = PAIRS[name]
        if a in logits and b in logits:
            keys = tests.keys if name in FLIPS else ()
            found = changes((a, logits[a]), (b, logits[b]), tests.labels, names, keys)
            out[name] = found.plain()
    return out


def by_domain(
    sets: TestSets,
    metrics: Mapping[str, Mapping[str, Any]],
    logits: Mapping[str, Mapping[str, Logits]],
) -> dict[str, object]:
    """Top-1 of every variant on every domain, the run's own first, and the means over domains.

    Args:
        metrics: of the run's own test split.
        logits: test set -> variant -> (N, K).

    Returns: ``domains`` {domain: {variant: n, top1, ci95}}; ``domain_mean`` with ``top1`` {variant:
        mean over all} and ``top1_others`` (without the own one). Empty and None for one domain.
    """
    if not sets.domains or sets.own is None:
        return {"domains": {}, "domain_mean": None}
    tested = {sets.own: {name: row for name, row in metrics.items() if name in ELSEWHERE}}
    for test_set, domain in sets.domains.items():
        labels = sets.labels(test_set)
        tested[domain] = {name: evaluate(row, labels) for name, row in logits[test_set].items()}
    domains = {
        domain: {name: {key: row[key] for key in DOMAIN_METRICS} for name, row in rows.items()}
        for domain, rows in tested.items()
    }

    def mean(over: list[str]) -> dict[str, float]:
        rows = [domains[domain] for domain in over]
        return {name: float(np.mean([row[name]["top1"] for row in rows])) for name in rows[0]}

    others = [domain for domain in domains if domain != sets.own]
    means = {"top1": mean(list(domains)), "top1_others": mean(others)}
    return {"domains": domains, "domain_mean": {"own": sets.own, "domains": list(domains), **means}}


def check_predict(ctx: StageContext, expected: Logits) -> dict[str, object]:
    """Sends a few test images as PNG files through the shipped path, decoding included.

    ``expected``: logits (N, K) of the fp32 student over the test split.

    Raises: ParityError: other pixels, or logits that differ by more than float kernels may.
    """
    classifier, sets = student(ExportArtifact(ctx.inputs["export"].path), 1), TestSets(ctx)
    originals, stored = sets.originals(TEST), sets.images(TEST).pixels
    rows = np.unique(np.linspace(0, len(stored) - 1, min(CHECKED_IMAGES, len(stored))).astype(int))
    files = [encoded(originals.image(int(row)), "PNG") for row in rows]
    pixels = np.abs(classifier.pixels(files).astype(int) - stored[rows])
    difference = float(np.abs(classifier.logits(files) - expected[rows]).max())
    allowed = 1e-3 * float(expected.max() - expected.min())
    if pixels.max() or difference > allowed:
        raise ParityError(
            "predict() does not see what the test set holds",
            got=f"pixels that differ by up to {pixels.max()}/255, logits by up to {difference:.3g}",
            expected=f"equal pixels, logits within {allowed:.3g}",
            remedy="they no longer share their preprocessing: compress clean, then build again",
        )
    return {"images": len(rows), "pixels_equal": True, "max_abs_logit_difference": difference}
