"""Finished stages -> the part of report.json about the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from compress.data.artifact import DataArtifact
from compress.data.summary import DataSummary
from compress.evaluate.doubts import doubts_and_outliers
from compress.evaluate.embedding import MOST_IMAGES, map_of
from compress.label.artifact import LabelArtifact
from compress.teacher.artifact import Seen, TeacherArtifact

LISTED = 200  # rows of each list
DIGITS = 4


def images_part(
    data: DataArtifact, label: LabelArtifact | None, teacher: TeacherArtifact | None = None
) -> dict[str, Any] | None:
    """What was found, the map of the shots, and what to relabel; None for an older data stage."""
    summary = data.summary
    if summary is None:
        return None
    part: dict[str, Any] = {"summary": _cut(summary).to_json(), "totals": _totals(summary)}
    seen = _features(data, label) or (None if teacher is None else teacher.seen())
    return part if seen is None else part | _judged(data, seen)


def _cut(summary: DataSummary) -> DataSummary:
    """Without the ends of long lists."""
    values = {field.name: getattr(summary, field.name) for field in fields(summary)}
    cut: dict[str, Any] = {
        name: value[:LISTED]
        for name, value in values.items()
        if isinstance(value, tuple) and name not in ("classes", "notes")
    }
    cut |= {
        name: dict(list(value.items())[:LISTED])
        for name, value in values.items()
        if isinstance(value, Mapping)
    }
    return replace(summary, **cut)


def _totals(summary: DataSummary) -> dict[str, int]:
    names = ("skipped", "repaired", "renamed", "copies", "not_used", "empty", "unknown", "left_out")
    return {name: len(getattr(summary, name)) for name in names}


def _features(data: DataArtifact, label: LabelArtifact | None) -> Seen | None:
    """The teacher's features of all shots, means of the views that it labeled; None without any."""
    targets = label.targets("real") if label is not None and label.is_written else None
    if targets is None or not len(data.shots) or len(targets.features) != len(data.shots):
        return None
    mean = targets.features.astype(np.float64).mean(axis=1)
    return Seen(np.arange(len(mean)), mean)


def _judged(data: DataArtifact, seen: Seen) -> dict[str, Any]:
    names = [entry.name for entry in data.classes]
    keys = [data.shots.keys[row] for row in seen.rows.tolist()]
    labels, features = data.shots.labels[seen.rows], seen.features.astype(np.float64)
    count = len(keys)
    rows = np.unique(np.linspace(0, count - 1, min(MOST_IMAGES, count)).round().astype(int))
    places = map_of(features[rows]).clip(0, 1)
    doubts, outliers = doubts_and_outliers(features, labels)
    sizes = np.bincount(labels, minlength=len(names))
    return {
        "map": [
            {"key": keys[row], "label": int(labels[row]), "x": float(x), "y": float(y)}
            for row, (x, y) in zip(rows.tolist(), places, strict=True)
        ],
        "judged": int(sizes[sizes > 1].sum()) if (sizes > 0).sum() > 1 else 0,
        "relabel": [
            {
                "key": keys[doubt.row],
                "label": names[labels[doubt.row]],
                "nearest": names[doubt.nearest],
                "margin": max(round(doubt.margin, DIGITS), 10**-DIGITS),
            }
            for doubt in doubts[:LISTED]
        ],
        "outliers": [
            {
                "key": keys[far.row],
                "label": names[labels[far.row]],
                "distance": round(far.distance, DIGITS),
            }
            for far in outliers[:LISTED]
        ],
    }
