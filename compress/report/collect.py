"""Finished stages -> the content of report.json. Nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.bench.artifact import BenchArtifact
from compress.budgets.costs import costs_of
from compress.data.artifact import DataArtifact
from compress.engine.config import Settings
from compress.engine.errors import BudgetError
from compress.engine.store import Artifact
from compress.engine.versions import versions
from compress.label.artifact import LabelArtifact
from compress.report import repeat
from compress.report.confidence import calibrated, confidence_part
from compress.report.images import images_part
from compress.report.model.report import SCHEMA, parse, student_variant
from compress.report.sections.headline import headline
from compress.teacher.artifact import TeacherArtifact
from export.artifact import ExportArtifact
from export.bundle.files import PROVENANCE
from runtime import open_bundle
from runtime.errors import EdgeError

CONTRACT_METRICS = ("n", "top1", "ci95", "macro_f1", "ece", "nll")
TEACHER_FACTS = ("params", "image_params", "embed_dim", "input_size", "revision", "license")

Facts = Mapping[str, Any]  # what a stage reports about itself


def collect(settings: Settings, stages: Mapping[str, Artifact]) -> dict[str, object]:
    """The content of report.json, from every stage before the report, by name.

    Raises: Clip2EdgeError: a part that does not keep the contract of report.json.
    """
    facts = {name: artifact.facts for name, artifact in stages.items()}
    data, bench = DataArtifact(stages["data"].path), facts["bench"]
    files = BenchArtifact(stages["bench"].path)
    accuracy, latency = files.accuracy(), files.latency()
    metrics, speedups = accuracy["forms"], latency["speedups"]
    shipped = f"student_{bench['ship']['precision']}"
    unknown = {"p50": None, "ci95": None}
    parity = facts["export"].get("parity") or {}
    bundle = ExportArtifact(stages["export"].path).bundle
    provenance = bundle / PROVENANCE
    known = json.loads(provenance.read_text(encoding="utf-8")) if provenance.exists() else {}
    content = {
        "schema": SCHEMA,
        "headline": "",
        "dataset": {
            **_picked(facts["data"], "name", "shots", "train_images", "test_images", "domain"),
            "classes": len(data.classes),
            "image_size": settings.image.size,
            "class_names": [entry.name for entry in data.classes],
            "skipped": list(data.skipped),
        },
        "teacher": {
            "name": facts["teacher"].get("name"),
            **_picked(facts["teacher"], *TEACHER_FACTS),
            "members": [
                _picked(one, "name", "params", "image_params")
                for one in facts["teacher"].get("members", ())
            ],
            "top1": metrics.get("teacher", {}).get("top1"),
            "zero_shot_top1": metrics.get("teacher_zero_shot", {}).get("top1"),
        },
        "student": {
            "name": settings.distill.student,
            **_picked(facts["distill"], "params", "init"),
            "shipped": shipped,
            **_files(bundle),
        },
        "synthetic": _synthetic(settings, facts["generate"], facts["label"]),
        "recipe": _recipe(settings, facts),
        "accuracy": {
            name: {**_picked(row, *CONTRACT_METRICS), "calibrated": calibrated(row)}
            for name, row in metrics.items()
        },
        "paired": accuracy["paired"],
        "changes": accuracy["changes"],
        "domains": _domains(accuracy),
        "images": images_part(
            data, LabelArtifact(stages["label"].path), TeacherArtifact(stages["teacher"].path)
        ),
        "latency": latency["rows"],
        "breakdown": latency.get("breakdown"),
        "speedup_vs_teacher": {**speedups.get(f"{shipped}_vs_teacher", unknown), "of": shipped},
        "speedups": speedups,
        "size_bytes": bench["size_bytes"],
        "budgets": [],
        "candidates": [],
        "devices": [],
        "sensitivity": None,
        "verdicts": _picked(bench, "ship", "gates"),
        "quantization": {
            **facts["quantize"],
            "kernels": latency["kernels"],
            "qat_vs_ptq": accuracy["paired"].get("int8_vs_ptq"),
        },
        "parity": {
            "files": {**parity, "teacher": facts["export"].get("teacher_parity")},
            "images_from": facts["export"].get("parity_images_from"),
            "predict": bench["predict_check"],
        },
        "calibration": {name: row["reliability"] for name, row in metrics.items()},
        "confidence": confidence_part(facts["export"], metrics, files.field()),
        "per_class": _per_class(metrics),
        "confusion": {name: _sparse(row["confusion"]) for name, row in metrics.items()},
        "cold": latency["cold"],
        "timings_s": {name: round(artifact.seconds, 3) for name, artifact in stages.items()},
        "environment": {
            **latency["environment"],
            "date": latency.get("date"),
            "versions": versions(),
        },
        "provenance": {**known, "content": {name: one.content for name, one in stages.items()}},
        "states": _states(settings, facts),
        "repeat": repeat.command(settings),
    }
    return {**content, "headline": headline(parse(content))}


def _files(bundle: Path) -> dict[str, object]:
    """The work of one image, and which bytes were measured."""
    try:
        opened = open_bundle(bundle, verify=False)
    except EdgeError:  # a stage of before, or of a test, whose report is made all the same
        return {}
    listed = opened.manifest["files"]
    named = {student_variant(key): listed[file.name] for key, file in opened.models.items()}
    try:
        macs = costs_of(opened.models["fp32"]).macs
    except (BudgetError, KeyError):
        macs = None
    return {"macs": macs, "sha256": {name: row["sha256"] for name, row in named.items()}}


def _picked(values: Facts, *names: str) -> dict[str, object]:
    return {name: values.get(name) for name in names}


def _synthetic(settings: Settings, generated: Facts, labeled: Facts) -> dict[str, object]:
    return {
        "images": generated.get("images", 0),
        "strategy": generated.get("strategy") or settings.generate.strategy,
        **_picked(generated, "per_class", "generator", "probing"),
        "teacher_agreement": labeled.get("teacher_agreement_synthetic"),
        "diversity": labeled.get("diversity_synthetic"),
        **_picked(labeled, "dropped", "diversity_real", "domain_gap"),
    }


def _recipe(settings: Settings, facts: Mapping[str, Facts]) -> dict[str, object]:
    """The choices behind the student, under the names of the settings and tables."""
    preset, changed = repeat.preset(settings)
    return {
        "preset": preset,
        "preset_changes": changed if preset else None,
        "strategy": facts["generate"].get("strategy") or settings.generate.strategy,
        "objective": facts["distill"].get("objective") or settings.distill.objective,
        **_picked(facts["distill"], "terms", "meta", "train", "feature_steps", "steps"),
        "teacher_images": facts["label"].get("teacher_images"),
    }


def _domains(accuracy: Facts) -> dict[str, object] | None:
    """Accuracy per domain; None if only one was tested."""
    means = accuracy.get("domain_mean")
    return means and {
        "own": means["own"],
        "order": means["domains"],
        "tests": accuracy["domains"],
        "mean_top1": means["top1"],
        "mean_top1_others": means["top1_others"],
    }


def _per_class(metrics: Mapping[str, Facts]) -> dict[str, object]:
    """Accuracy of every class per model variant, and the number of its test images."""
    rows = {name: row["per_class"] for name, row in metrics.items()}
    supports = [[sum(row) for row in one["confusion"]] for one in metrics.values()]
    return {"support": supports[0], **rows} if supports else {}


def _sparse(matrix: list[list[int]]) -> list[tuple[int, int, int]]:
    """The cells of a confusion matrix that are not zero: (true, predicted, count)."""
    return [(i, j, n) for i, row in enumerate(matrix) for j, n in enumerate(row) if n]


def _states(settings: Settings, facts: Mapping[str, Facts]) -> list[str]:
    """What was skipped, replaced or could not be checked, in the stages' own words."""
    out = list(settings.notes)
    for lines in (
        stage.get(name) or [] for stage in facts.values() for name in ("notes", "states")
    ):
        out += [lines] if isinstance(lines, str) else map(str, lines)
    return list(dict.fromkeys(out))
