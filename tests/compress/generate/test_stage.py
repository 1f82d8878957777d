"""Stage "generate": sharded, resumable, nested, and from the run's own shots alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_runs import Fragile, Interrupted, Loader, context
from PIL import Image
from tiny_sources import EDGE, Echo

from compress.api import settings_for
from compress.data.artifact import DataArtifact
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.artifact import GenerateArtifact
from compress.generate.generators.table import load_generator
from compress.generate.stage import fingerprint, run
from compress.generate.strategies.table import STRATEGIES, StrategyRow

FILES = (
    "synthetic.npy",
    "synthetic.jsonl",
    "conditions.npy",
    "source_conditions.npy",
    "sheet_rose.png",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_files_and_facts(tmp_path: Path, echoes: Loader) -> None:
    ctx = context(tmp_path, "a")
    facts = run(ctx)
    images = np.load(ctx.folder / "synthetic.npy", mmap_mode="r")
    records = [
        json.loads(line) for line in (ctx.folder / "synthetic.jsonl").read_text().splitlines()
    ]
    assert images.shape == (21, EDGE, EDGE, 3)
    assert np.load(ctx.folder / "conditions.npy").shape == (21, 6)
    assert [record["class_id"] for record in records] == [i % 3 for i in range(21)]
    assert len({record["seed"] for record in records}) == 21
    assert set(records[0]) == {
        "path",
        "class_id",
        "method",
        "prompt",
        "style_id",
        "source_ids",
        "weights",
        "seed",
        "generator_id",
        "noise_level",
        "cond_embedding_ref",
        "loss",
    }
    assert (facts["images"], facts["per_class"], facts["strategy"]) == (21, 7, "sidclip")
    assert facts["weights"] == {"2": [0.2, 0.4, 0.4]}
    assert facts["generator_fingerprint"] == "echo"
    assert facts["style_agreement"] is None, "these images follow no style"
    assert facts["sheets"] == ["sheet_rose.png", "sheet_oak.png", "sheet_daisy.png"]
    json.dumps(facts)
    with Image.open(ctx.folder / "sheet_oak.png") as sheet:
        assert sheet.width > sheet.height / 2


class Transposed(Echo):
    """Gives the same images as views of a channels-first array, as tensors often are."""

    def decode(self, *arguments: Any, **named: Any) -> np.ndarray:
        made = super().decode(*arguments, **named)
        return np.ascontiguousarray(made.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


def test_the_layout_of_images_in_memory_does_not_matter(tmp_path: Path, echoes: Loader) -> None:
    plain, turned = context(tmp_path, "plain"), context(tmp_path, "turned")
    run(plain)
    echoes.queue.append(Transposed())
    run(turned)
    assert (plain.folder / "synthetic.npy").read_bytes() == (
        turned.folder / "synthetic.npy"
    ).read_bytes()


@pytest.mark.parametrize("survived", [0, 1, 3, 5])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, echoes: Loader, survived: int
) -> None:
    whole = context(tmp_path, "whole")
    expected_facts = run(whole)
    broken = context(tmp_path, "broken")
    echoes.queue.append(Fragile(survived))
    with pytest.raises(Interrupted):
        run(broken)
    before = sum(len(echo.prior_seeds) for echo in echoes.loaded)
    assert run(broken) == expected_facts
    assert contents(broken.folder) == contents(whole.folder)
    redone = sum(len(echo.prior_seeds) for echo in echoes.loaded) - before
    assert redone == 6 - survived // 2 * 2, "finished shards (two batches each) are kept"


def test_a_complete_set_of_shards_needs_no_generator(tmp_path: Path, echoes: Loader) -> None:
    ctx = context(tmp_path, "a")
    facts, files, count = run(ctx), contents(ctx.folder), len(echoes.loaded)
    assert run(ctx) == facts
    assert contents(ctx.folder) == files
    assert len(echoes.loaded) == count


def test_the_first_images_of_a_larger_run_are_those_of_a_smaller_one(
    tmp_path: Path, echoes: Loader
) -> None:
    small, large = context(tmp_path, "small", per_class=3), context(tmp_path, "large", per_class=9)
    run(small)
    run(large)
    few, many = (GenerateArtifact(ctx.folder).images for ctx in (small, large))
    np.testing.assert_array_equal(few, many[: len(few)])
    some, every = (GenerateArtifact(ctx.folder).records for ctx in (small, large))
    assert some == every[:9]


def test_the_seed_of_the_run_decides(tmp_path: Path, echoes: Loader) -> None:
    images = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ctx = context(tmp_path, name, seed=seed)
        run(ctx)
        images.append(GenerateArtifact(ctx.folder).images)
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_only_the_runs_shots_reach_the_generator(tmp_path: Path, echoes: Loader) -> None:
    ctx = context(tmp_path, "a")
    run(ctx)
    own = {row.tobytes() for row in DataArtifact(ctx.inputs["data"].path).shots.pixels}
    assert {row.tobytes() for echo in echoes.loaded for batch in echo.seen for row in batch} <= own
    records = GenerateArtifact(ctx.folder).records
    assert {key for record in records for key in record.source_ids} <= {
        f"train/{i}" for i in range(6)
    }


def test_zero_shots_use_the_caption_alone(tmp_path: Path, echoes: Loader) -> None:
    ctx = context(tmp_path, "a", shots=0, per_class=2)
    facts = run(ctx)
    assert GenerateArtifact(ctx.folder).images.shape == (6, EDGE, EDGE, 3)
    assert facts["weights"] == {"0": [1.0]}
    assert not echoes.loaded[0].seen


@pytest.mark.parametrize("generate", [{"strategy": "none"}, {"per_class": 0}])
def test_no_synthesis_leaves_empty_files_that_can_be_read(
    tmp_path: Path, echoes: Loader, generate: dict[str, object]
) -> None:
    ctx = context(tmp_path, "a", **generate)
    facts = run(ctx)
    assert (facts["images"], facts["generator"]) == (0, None)
    assert GenerateArtifact(ctx.folder).images.shape == (0, EDGE, EDGE, 3)
    assert (ctx.folder / "synthetic.jsonl").read_text() == ""
    assert not echoes.loaded


@pytest.mark.parametrize("strategy", ["img2img", "sidclip"])
def test_every_shot_is_encoded_once_even_by_a_resumed_run(
    tmp_path: Path, echoes: Loader, strategy: str
) -> None:
    whole, broken = (context(tmp_path, name, strategy=strategy) for name in ("whole", "broken"))
    expected = run(whole)
    assert expected["encoder_images"] == 6
    echoes.queue.append(Fragile(3))
    with pytest.raises(Interrupted):
        run(broken)
    assert run(broken) == expected
    assert contents(broken.folder) == contents(whole.folder)
    assert [sum(len(batch) for batch in echo.seen) for echo in echoes.loaded] == [6, 6, 0]
    shots = DataArtifact(broken.inputs["data"].path).shots.pixels
    np.testing.assert_array_equal(
        GenerateArtifact(broken.folder).source_conditions, Echo().embed_images(shots)
    )


def test_conditions_of_img2img_are_its_sources(tmp_path: Path, echoes: Loader) -> None:
    """What condition prediction needs: the record's shot, its embedding, the image's condition."""
    ctx = context(tmp_path, "a", strategy="img2img", noise_level=40)
    facts = run(ctx)
    assert (facts["noise_level"], facts["embed_dim"]) == (40, 6)
    assert set(echoes.loaded[0].noise_levels) == {40}
    shots, artifact = DataArtifact(ctx.inputs["data"].path).shots, GenerateArtifact(ctx.folder)
    source, conditions = artifact.source_conditions, artifact.conditions
    assert source is not None and conditions is not None
    for record, condition in zip(artifact.records, conditions, strict=True):
        row = shots.keys.index(record.source_ids[0])
        assert shots.labels[row] == record.class_id
        np.testing.assert_array_equal(condition, source[row].astype(np.float16))


def test_images_without_conditions(tmp_path: Path, echoes: Loader) -> None:
    ctx = context(tmp_path, "a", strategy="cls2img", templates=("a {}", "the {}"))
    facts = run(ctx)
    assert (facts["embed_dim"], facts["encoder_images"], facts["probing"]) == (None, 0, None)
    assert np.load(ctx.folder / "conditions.npy").shape == (21, 0)
    assert np.load(ctx.folder / "source_conditions.npy").shape == (0, 0)
    assert not echoes.loaded[0].seen


def test_the_ratio_counts_real_images(tmp_path: Path, echoes: Loader) -> None:
    facts = run(context(tmp_path, "a", strategy="img2img", synth_ratio=4.0))
    assert (facts["per_class"], facts["images"]) == (8, 24), "four times two shots"


def test_the_embedded_generator_runs_through_the_stage(tmp_path: Path) -> None:
    """Shots of another edge in, images at the cache's edge out, the same in batches of any size."""
    files = []
    for batch in (2, 3):
        ctx = context(
            tmp_path,
            f"b{batch}",
            generator="petals",
            per_class=2,
            steps=2,
            guidance_scale=1.5,
            batch=batch,
        )
        facts = run(ctx)
        files.append(GenerateArtifact(ctx.folder).images)
    assert files[0].shape == (6, EDGE, EDGE, 3)
    np.testing.assert_array_equal(*files)
    assert (facts["generator"], facts["generator_image_size"], facts["embed_dim"]) == (
        "petals",
        32,
        128,
    )
    assert len({image.tobytes() for image in files[0]}) == 6
    with pytest.raises(ConfigError, match="image embeddings only"):
        load_generator(GenerateSettings(generator="petals", text_via_prior=False))


def test_a_strategy_of_a_script_is_known_by_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my_strategy.py"
    file.write_text("class Mine: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(STRATEGIES, "mine", StrategyRow("my_strategy:Mine"))
    overrides = {"generate": {"strategy": "mine"}}
    settings = settings_for("petals", preset="smoke", overrides=overrides)
    before = fingerprint(settings)
    assert before == fingerprint(settings) and "strategy mine" in before
    file.write_text("class Mine: edited = True\n")
    assert fingerprint(settings)["strategy mine"] != before["strategy mine"]
    ours = {"generate": {"strategy": "sidclip"}}
    assert "strategy sidclip" not in fingerprint(
        settings_for("petals", preset="smoke", overrides=ours)
    )
