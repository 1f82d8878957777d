"""Finished stages -> the plain dict that becomes report.json. Nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compress.engine.config import Settings
from compress.engine.store import Artifact
from compress.engine.versions import versions
from compress.report import repeat
from compress.report.model.report import SCHEMA
from compress.report.wording import headline

CONTRACT_METRICS = ("n", "top1", "ci95", "macro_f1", "ece", "nll")


def collect(settings: Settings, stages: Mapping[str, Artifact]) -> dict[str, Any]:
    """Everything report.json says.

    Args:
        stages: every stage before the report, by name.
    """
    facts = {name: artifact.facts for name, artifact in stages.items()}
    accuracy, latency = (
        read(stages["bench"], "accuracy.json"),
        read(stages["bench"], "latency.json"),
    )
    forms, bench = accuracy["forms"], facts["bench"]
    shipped = f"student_{bench['ship']['precision']}"
    classes = read(stages["data"], "classes.json")
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "headline": "",
        "dataset": {
            "name": facts["data"]["name"],
            "classes": len(classes),
            "shots": facts["data"]["shots"],
            "train_images": facts["data"]["train_images"],
            "test_images": facts["data"]["test_images"],
            "domain": facts["data"].get("domain"),
            "image_size": settings.image.size,
            "class_names": [entry["name"] for entry in classes],
            "skipped": read(stages["data"], "skipped.json"),
        },
        "teacher": {
            **_chosen(
                facts["teacher"],
                "name",
                "params",
                "image_params",
                "embed_dim",
                "input_size",
                "revision",
                "license",
            ),
            "top1": forms.get("teacher", {}).get("top1"),
            "zero_shot_top1": forms.get("teacher_zero_shot", {}).get("top1"),
        },
        "student": {
            "name": settings.distill.student,
            "params": facts["distill"].get("params"),
            "init": facts["distill"].get("init"),
            "shipped": shipped,
        },
        "synthetic": {
            "images": facts["generate"].get("images", 0),
            "per_class": facts["generate"].get("per_class"),
            "strategy": facts["generate"].get("strategy") or settings.generate.strategy,
            "generator": facts["generate"].get("generator"),
            "dropped": facts["label"].get("dropped"),
            "teacher_agreement": facts["label"].get("teacher_agreement_synthetic"),
            "diversity": facts["label"].get("diversity_synthetic"),
            "diversity_real": facts["label"].get("diversity_real"),
            "domain_gap": facts["label"].get("domain_gap"),
            "probing": facts["generate"].get("probing"),
        },
        "recipe": _recipe(settings, facts),
        "accuracy": {name: _chosen(form, *CONTRACT_METRICS) for name, form in forms.items()},
        "paired": accuracy["paired"],
        "changes": accuracy["changes"],
        "domains": _domains(accuracy),
        "latency": latency["rows"],
        "breakdown": latency.get("breakdown"),
        "speedup_vs_teacher": _speedup(latency["speedups"], f"{shipped}_vs_teacher", shipped),
        "speedups": latency["speedups"],
        "size_bytes": bench["size_bytes"],
        "budgets": [],
        "candidates": [],
        "devices": [],
        "sensitivity": None,
        "verdicts": {"ship": bench["ship"], "gates": bench["gates"]},
        "quantization": {
            **facts["quantize"],
            "kernels": latency["kernels"],
            "qat_vs_ptq": accuracy["paired"].get("int8_vs_ptq"),
        },
        "parity": {
            "files": {
                **(facts["export"].get("parity") or {}),
                "teacher": facts["export"].get("teacher_parity"),
            },
            "images_from": facts["export"].get("parity_images_from"),
            "predict": bench["predict_check"],
        },
        "calibration": {name: form["reliability"] for name, form in forms.items()},
        "per_class": _per_class(forms),
        "confusion": {name: _sparse(form["confusion"]) for name, form in forms.items()},
        "cold": latency["cold"],
        "timings_s": {name: round(artifact.seconds, 3) for name, artifact in stages.items()},
        "environment": {**latency["environment"], "versions": versions()},
        "provenance": _provenance(stages),
        "states": _states(settings, facts),
        "repeat": repeat.command(settings),
    }
    report["headline"] = headline(report)
    return report


def read(artifact: Artifact, file: str) -> Any:
    """A JSON file of a stage."""
    return json.loads((artifact.path / file).read_text())


def _chosen(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values.get(name) for name in names}


def _recipe(settings: Settings, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What was chosen to make the student, under the names of the settings and tables."""
    preset, changed = repeat.preset(settings)
    return {
        "preset": preset,
        "preset_changes": changed if preset else None,
        "strategy": facts["generate"].get("strategy") or settings.generate.strategy,
        "objective": facts["distill"].get("objective") or settings.distill.objective,
        **_chosen(facts["distill"], "terms", "meta", "train", "feature_steps", "steps"),
        "teacher_images": facts["label"].get("teacher_images"),
    }


def _domains(accuracy: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy per domain; None where only one was tested."""
    means = accuracy.get("domain_mean")
    if not means:
        return None
    return {
        "own": means["own"],
        "order": means["domains"],
        "tests": accuracy["domains"],
        "mean_top1": means["top1"],
        "mean_top1_others": means["top1_others"],
    }


def _speedup(speedups: Mapping[str, Any], name: str, of: str) -> dict[str, Any]:
    found = speedups.get(name) or {"p50": None, "ci95": None}
    return {**found, "of": of}


def _per_class(forms: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy of every class per form, and how many test images it has."""
    out: dict[str, Any] = {name: form["per_class"] for name, form in forms.items()}
    first = next(iter(forms.values()), None)
    return {"support": [sum(row) for row in first["confusion"]], **out} if first else {}


def _sparse(matrix: list[list[int]]) -> list[list[int]]:
    """The cells of a confusion matrix that are not zero: ``[true, predicted, count]``."""
    table = np.asarray(matrix)
    return [[int(t), int(p), int(table[t, p])] for t, p in np.argwhere(table)]


def _provenance(stages: Mapping[str, Artifact]) -> dict[str, Any]:
    """What the bundle says of its origins, and the content hash of every stage."""
    file: Path = stages["export"].path / "bundle" / "provenance.json"
    told = json.loads(file.read_text()) if file.exists() else {}
    return {**told, "content": {name: artifact.content for name, artifact in stages.items()}}


def _states(settings: Settings, facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was skipped, replaced or could not be checked, in the stages' own words."""
    out = list(settings.notes)
    for name in facts:
        for field in ("notes", "states"):
            told = facts[name].get(field) or []
            out += [told] if isinstance(told, str) else [str(line) for line in told]
    return list(dict.fromkeys(out))
