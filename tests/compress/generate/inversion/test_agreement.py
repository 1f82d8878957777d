"""Whether images show the style and class asked for, on real pictures of petals and made ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.api import run_stages, settings_for
from compress.data.split import ClassInfo
from compress.engine.config import PromptSettings, TeacherSettings
from compress.generate.artifact import SyntheticRecord
from compress.generate.inversion.agreement import style_agreement
from compress.generate.inversion.prompt_targets import PROMPT_TARGETS, load_targets
from compress.generate.inversion.word_targets import PromptTargets
from compress.generate.sources import Sources
from compress.petals.world import SPECIES, render_species
from compress.teacher.clip import ClipTeacher
from compress.teacher.loading import load_teacher

CHOSEN = (0, 8, 12, 20)
STYLES = {"photo": "photo", "painting": "painting", "night": "a photo of a {} at night"}
AT_NIGHT_IN_FOG = ("a photo of a {} at night", "a photo of a {} in the fog")
EACH = 6  # pictures of a species in a style


@cache
def teacher() -> ClipTeacher:
    return load_teacher(TeacherSettings(name="petals"))


def targets(kind: str = "words", **settings: Any) -> PromptTargets:
    classes = [ClassInfo(SPECIES[i].name, SPECIES[i].name) for i in CHOSEN]
    shots = render_species(CHOSEN, "train", [0] * len(CHOSEN))
    sources = Sources(classes, shots, np.arange(4), [*"abcd"], 5, teacher=teacher)
    prompts = PromptSettings(
        kind=kind,
        template="a photo of a {}",
        style_template="a {style} of a {}",
        words=tuple(STYLES.values()),
        **settings,
    )
    return load_targets(prompts, sources, teacher())


def pictures() -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Real pictures, and the class and style of each."""
    rows = [(c, s) for c in range(len(CHOSEN)) for s in range(len(STYLES)) for _ in range(EACH)]
    images = [
        render_species([CHOSEN[c]], "train", [i % EACH], [*STYLES][s])[0]
        for i, (c, s) in enumerate(rows)
    ]
    return np.stack(images), rows


def records(rows: list[tuple[int, int]]) -> list[SyntheticRecord]:
    return [SyntheticRecord("", c, "inversion", 0, "drawn", style_id=s) for c, s in rows]


def test_real_pictures_are_recognized_and_wrong_claims_are_not() -> None:
    images, rows = pictures()
    found = style_agreement(targets(), images, records(rows))
    assert found["style"] > 0.8 and found["class"] > 0.8 and found["styles"] == 3
    assert max(0.0, found["style"] + found["class"] - 1) <= found["both"] <= found["class"]
    assert np.mean(found["by_style"]) == pytest.approx(found["style"]), "as many images of each"
    other_style = style_agreement(targets(), images, records([(c, (s + 1) % 3) for c, s in rows]))
    assert other_style["style"] < 0.1 and other_style["class"] == found["class"]
    other_class = style_agreement(targets(), images, records([((c + 1) % 4, s) for c, s in rows]))
    assert other_class["class"] < 0.1 and other_class["both"] < 0.1


def test_a_style_without_images_has_no_share() -> None:
    images, rows = pictures()
    photos = [i for i, (_, s) in enumerate(rows) if s == 0]
    found = style_agreement(targets(), images[photos], records([rows[i] for i in photos]))
    assert found["by_style"][0] == found["style"] and found["by_style"][1:] == [None, None]


@pytest.mark.parametrize("kind", PROMPT_TARGETS)
def test_each_kind_has_a_feature_of_a_class_in_each_style(kind: str) -> None:
    made = targets(kind, count=3, steps=2)
    rows = made.style_features(2)
    row = PROMPT_TARGETS[kind]
    assert rows.shape == (row.styles(made.settings) if row.styles else 0, 128)
    if kind in ("contrastive", "learned"):
        expected = made.in_style(2, made.vectors[1])
        np.testing.assert_allclose(rows[1], expected, atol=1e-5)
    elif row.styled:
        text = "a painting of a " + SPECIES[CHOSEN[2]].name
        np.testing.assert_allclose(rows[1], teacher().encode_texts([text])[0], atol=1e-6)


def facts(work: Path, **generate: Any) -> Any:
    words = {"words": [*STYLES.values()]}
    given = {"strategy": "inversion", "per_class": 3, "batch": 24, "prompts": words, **generate}
    settings = settings_for("petals8", shots=0, overrides={"generate": given})
    return run_stages(settings, work, "agreement", until="generate").stages["generate"].facts


def test_the_stage_says_it_and_noise_alone_keeps_styles_that_full_cut_outs_destroy(
    tmp_path: Path,
) -> None:
    """The audit's finding: at 32 pixels the cut-outs of VQGAN-CLIP leave no style but photo."""
    shares = {}
    for augment in ("auto", "full"):
        adam = {"steps": 20, "lr": 0.4, "betas": [0.5, 0.99]}
        inversion = {"cutouts": 1, "augment": augment, **adam}
        prompts = {"kind": "words", "words": ["photo", "sketch", "painting", *AT_NIGHT_IN_FOG]}
        found = facts(tmp_path, inversion=inversion, prompts=prompts)
        assert found["augment"] == ("noise" if augment == "auto" else "full")
        agreement = found["style_agreement"]
        assert agreement["styles"] == 5 and 0 <= agreement["both"] <= agreement["style"] <= 1
        shares[augment] = agreement["style"]
    assert shares["auto"] > shares["full"] + 0.1


def test_without_styles_the_stage_says_nothing(tmp_path: Path) -> None:
    inversion = {"steps": 1, "cutouts": 1}
    assert (
        facts(tmp_path, inversion=inversion, prompts={"kind": "fixed"})["style_agreement"] is None
    )
