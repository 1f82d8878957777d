"""Probing: the score, and the best of planted candidates with the embedded teacher."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.data.artifact import DataArtifact
from compress.data.split import ClassInfo
from compress.engine.config import (
    DataSettings,
    GenerateSettings,
    ImageSettings,
    ProbingSettings,
    Settings,
    TeacherSettings,
)
from compress.engine.errors import ConfigError
from compress.engine.executors.spans import make_spans
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.generate import stage
from compress.generate.artifact import GenerateArtifact
from compress.generate.probe_work import ProbeWork
from compress.generate.probing import Measures, candidates, scored
from compress.generate.shards import Generating
from compress.petals.world import SPECIES, render_species

SPECIES_IDS, SHOTS, EDGE = (0, 12, 24), 2, 32
# The planted order: images of the shots, images of nearly nothing but noise, images of one step.
GOOD = {"strategy": "img2img"}
LOST = {"strategy": "img2img", "noise_level": 998}
CRUDE = {"strategy": "cls2img", "steps": 1}


def test_the_score_pays_for_diversity_up_to_that_of_the_shots() -> None:
    rows: list[Measures] = [
        {"agreement": 0.9, "diversity": 0.1, "gap": 0.1},
        {"agreement": 0.8, "diversity": 0.4, "gap": 0.1},
        {"agreement": 0.8, "diversity": 0.8, "gap": 0.1},
    ]
    with_shots = scored(rows, 0.4, ProbingSettings())
    assert [row["diversity_ratio"] for row in with_shots] == [0.25, 1.0, 1.0]
    assert [row["score"] for row in with_shots] == pytest.approx([0.925, 1.2, 1.2])
    assert [row["diversity_ratio"] for row in scored(rows, None, ProbingSettings())] == [
        0.125,
        0.5,
        1.0,
    ], "without pairs of shots"
    alone = scored([{"agreement": 1.0, "diversity": None, "gap": None}], None, ProbingSettings())
    assert alone[0]["score"] == 1.0


def test_candidates_are_the_settings_with_their_overrides() -> None:
    offered = ({}, {"noise_level": 100, "strategy": "img2img"}, {"inversion": {"steps": 3}})
    base = GenerateSettings(guidance_scale=2.5, probing=ProbingSettings(candidates=offered))
    plain, noisy, nested = candidates(base)
    assert (plain.strategy, plain.guidance_scale, plain.probing.candidates) == ("sidclip", 2.5, ())
    assert (noisy.strategy, noisy.noise_level, noisy.guidance_scale) == ("img2img", 100, 2.5)
    assert nested.inversion == base.inversion.model_copy(update={"steps": 3})
    assert candidates(GenerateSettings()) == [GenerateSettings()]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"noise_levl": 3},
            "unknown setting generate.noise_levl · did you mean 'generate.noise_level'",
        ),
        ({"noise_level": 5000}, "setting generate.noise_level is wrong"),
        ({"per_class": 3}, "changes what probing cannot compare · got generate.per_class"),
    ],
)
def test_overrides_that_make_no_candidate_are_named(
    overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        candidates(GenerateSettings(probing=ProbingSettings(candidates=(overrides,))))


def context(
    tmp_path: Path, name: str, *offered: dict[str, Any], shots: int = SHOTS
) -> StageContext:
    """A run of the embedded world with three of its species."""
    generate = GenerateSettings(
        strategy="cls2img",
        generator="petals",
        per_class=1,
        steps=4,
        guidance_scale=1.5,
        batch=12,
        probing=ProbingSettings(candidates=offered, per_class=4),
    )
    data = DataArtifact(tmp_path / f"data{shots}")
    if not data.folder.exists():
        data.folder.mkdir()
        species = [species for species in SPECIES_IDS for _ in range(shots)]
        images = render_species(species, "train", list(range(shots)) * len(SPECIES_IDS))
        with data.pixel_writer("shots", EDGE) as pixels:
            for image in images:
                pixels.append(image)
        labels = [i // shots for i in range(len(species))]
        data.write_rows("shots", [f"train/{i}" for i in range(len(species))], labels)
        names = [SPECIES[species].name for species in SPECIES_IDS]
        data.write_classes([ClassInfo(name, name, "flower") for name in names])
    (tmp_path / name).mkdir()
    settings = Settings(
        data=DataSettings(shots=shots),
        image=ImageSettings(size=EDGE),
        generate=generate,
        teacher=TeacherSettings(name="petals", templates=("a {}",)),
    )
    return StageContext(
        settings, {"data": Artifact("data", data.folder, {}, "c")}, tmp_path / name, 0
    )


def test_the_planted_best_is_chosen_and_used_for_the_bulk(tmp_path: Path) -> None:
    ctx = context(tmp_path, "a", LOST, GOOD, CRUDE)
    facts = stage.run(ctx)
    rows = facts["probing"]["rows"]
    assert [row["candidate"] for row in rows] == [LOST, GOOD, CRUDE]
    assert facts["probing"]["chosen"] == 1
    assert rows[1]["agreement"] > rows[0]["agreement"]
    assert rows[1]["gap"] < min(rows[0]["gap"], rows[2]["gap"])
    assert facts["strategy"] == "img2img"
    assert facts["encoder_images"] == SHOTS * len(SPECIES_IDS), (
        "the candidates share the embeddings of the shots"
    )
    records = GenerateArtifact(ctx.folder).records
    assert {(record.method, record.noise_level) for record in records} == {("img2img", 0)}
    json.dumps(facts)


def test_the_bulk_is_that_of_the_chosen_settings_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed, plain = context(tmp_path, "a", LOST, GOOD), context(tmp_path, "b")
    four = GenerateSettings(**{**probed.settings.generate.model_dump(), "per_class": 4})
    probed = replace(probed, settings=probed.settings.model_copy(update={"generate": four}))
    chosen = candidates(probed.settings.generate)[1]
    plain = replace(plain, settings=plain.settings.model_copy(update={"generate": chosen}))
    made: list[range] = []
    generates = Generating.shard
    monkeypatch.setattr(
        Generating,
        "shard",
        lambda self, strategy, rows, advance: (
            made.append(rows) or generates(self, strategy, rows, advance)
        ),
    )
    stage.run(probed)
    assert made == [range(12), range(12)], "of each candidate; those of the best are the bulk's"
    stage.run(plain)
    for file in ("synthetic.npy", "synthetic.jsonl", "conditions.npy", "source_conditions.npy"):
        assert (probed.folder / file).read_bytes() == (plain.folder / file).read_bytes()


def test_a_resumed_run_probes_only_what_was_not_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = context(tmp_path, "whole", GOOD, LOST), context(tmp_path, "broken", GOOD, LOST)
    expected, drawn = stage.run(whole), []
    make = ProbeWork.make

    def dies_at_the_second(work: ProbeWork, span: range, *rest: Any) -> None:
        drawn.append(span.start)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        make(work, span, *rest)

    monkeypatch.setattr(ProbeWork, "make", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        stage.run(broken)
    assert stage.run(broken) == expected
    assert drawn == [0, 12, 12]
    assert stage.run(broken) == expected
    assert len(drawn) == 3, "and nothing when all is measured"


def test_a_candidate_may_take_several_spans_on_any_worker(tmp_path: Path) -> None:
    ctx = context(tmp_path, "a", GOOD, {"strategy": "none"})
    many = ctx.settings.generate.model_copy(update={"batch": 64})
    offered = [one.model_copy(update={"batch": 64}) for one in candidates(many)]
    work = ProbeWork(ctx, offered, 96)
    assert work.spans() == [range(64), range(64, 96), range(96, 160), range(160, 192)]
    files = make_spans(work.for_worker())
    good, refused = work.answers(files)
    assert good.shape[0] == 96 and "generates no images" in refused


def test_without_shots_there_is_no_gap(tmp_path: Path) -> None:
    probing = stage.run(context(tmp_path, "a", {"steps": 4}, {"steps": 2}, shots=0))["probing"]
    assert [row["gap"] for row in probing["rows"]] == [None, None]
    assert probing["shots_diversity"] is None
    assert max(row["diversity_ratio"] for row in probing["rows"]) == 1.0


def test_candidates_that_do_not_fit_the_run_are_refused_in_their_row(tmp_path: Path) -> None:
    facts = stage.run(context(tmp_path, "a", {"strategy": "img2img"}, CRUDE, shots=0))
    rows = facts["probing"]["rows"]
    assert "img2img makes images from shots" in rows[0]["refused"] and "score" not in rows[0]
    assert facts["probing"]["chosen"] == 1 and facts["strategy"] == "cls2img"


def test_a_candidate_without_images_is_refused_in_its_row(tmp_path: Path) -> None:
    facts = stage.run(context(tmp_path, "a", {"strategy": "none"}, CRUDE))
    assert "generates no images" in facts["probing"]["rows"][0]["refused"]
    assert facts["probing"]["chosen"] == 1


def test_no_candidate_that_fits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no candidate"):
        stage.run(context(tmp_path, "a", {"strategy": "img2img"}, shots=0))
