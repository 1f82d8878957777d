"""Images made toward prototypes get the prototypes' logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.api import Run, run_stages, settings_for
from compress.data.artifact import DataArtifact
from compress.label.artifact import LabelArtifact
from compress.label.prototypes import prototype_heads
from compress.teacher.artifact import Head, Heads, TeacherArtifact, unit
from compress.teacher.loading import load_clip


def labeled(work: Path, kind: str) -> Run:
    inversion = {"steps": 1, "cutouts": 1}
    generate: dict[str, Any] = {"strategy": "inversion", "per_class": 1, "batch": 8}
    generate |= {"inversion": inversion, "prompts": {"kind": kind}, "probing": {"candidates": []}}
    overrides = {
        "generate": generate,
        "label": {"views": 2, "real_views": 2},
        "teacher": {"probe_steps": 5, "probe_views": 2},
    }
    settings = settings_for("petals8", shots=3, overrides=overrides)
    return run_stages(settings, work, f"label-{kind}", until="label")


@pytest.mark.parametrize("kind", ["prototypes", "fixed"])
def test_the_logits_are_those_of_what_the_images_were_made_toward(
    tmp_path: Path, kind: str
) -> None:
    run = labeled(tmp_path, kind)
    stages = run.stages
    heads = TeacherArtifact(stages["teacher"].path).heads()
    rows = heads.probe
    if kind == "prototypes":
        shots = DataArtifact(stages["data"].path).shots
        seen = load_clip(run.settings.teacher, "cpu").encode_images(np.asarray(shots.pixels))
        rows = unit(np.stack([seen[shots.labels == label].mean(0) for label in range(8)]))
        assert 1 - (rows * heads.probe).sum(1).max() > 0.01, "a probe is something else"
    assert stages["label"].facts["head"] == ("prototypes" if kind == "prototypes" else "probe")
    for pool in ("real", "synthetic"):
        targets = LabelArtifact(stages["label"].path).targets(pool)
        assert targets is not None
        expected = heads.logit_scale * targets.features.astype(np.float32) @ rows.T
        np.testing.assert_allclose(targets.logits, expected, atol=0.2)  # features are float16


def test_each_of_several_teachers_has_prototypes_in_its_own_centered_space() -> None:
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(6, 7)).astype(np.float32))
    labels = np.array([0, 1, 2, 0, 1, 2])
    center = rng.normal(size=3).astype(np.float32) / 10
    probes = [unit(rng.normal(size=(3, width)).astype(np.float32)) for width in (4, 3)]
    heads = Heads((Head(None, probes[0], 9.0), Head(None, probes[1], 5.0, center)))
    made = prototype_heads(heads, features, labels)
    assert [head.logit_scale for head in made.members] == [9.0, 5.0]
    first = unit(features[:, :4])
    np.testing.assert_allclose(made.members[0].probe[1], unit(first[1] + first[4]), atol=1e-6)
    second = unit(unit(features[:, 4:]) - center)
    np.testing.assert_allclose(made.members[1].probe[2], unit(second[2] + second[5]), atol=1e-6)
    assert made.members[1].center is center
