"""Stage "generate": sharded, resumable, nested, and made from the run's own shots alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_sources import EDGE, Echo, write_data

from compress.engine.config import (
    DataSettings,
    GenerateSettings,
    ImageSettings,
    ProbingSettings,
    Settings,
    TeacherSettings,
)
from compress.engine.errors import ConfigError
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.generate import shards
from compress.generate.generators import table as generators
from compress.generate.generators.table import IMAGE, TEXT, Kind, Place
from compress.generate.sheets import contact_sheet, sheet_names
from compress.generate.stage import fingerprint, run
from compress.generate.strategies.cls2img import ClassToImage

FILES = (
    "synthetic.npy",
    "synthetic.jsonl",
    "conditions.npy",
    "source_conditions.npy",
    "sheet_rose.png",
)


class Interrupted(Exception):
    """What a killed process would not even raise."""


class Fragile(Echo):
    """Dies after a number of decoded batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def decode(
        self,
        embeds: np.ndarray,
        seeds: list[int],
        steps: int,
        guidance_scale: float,
        noise_level: int = 0,
    ) -> np.ndarray:
        if not self.left:
            raise Interrupted
        self.left -= 1
        return super().decode(embeds, seeds, steps, guidance_scale, noise_level)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Echo]:
    """Registers generator "echo" and collects the instances that were loaded; preset ones are
    handed out first.
    """
    instances: list[Echo] = []
    monkeypatch.setitem(
        generators.KINDS, "echo", Kind(f"{__name__}:load_echo", TEXT | IMAGE, noises=True)
    )
    monkeypatch.setitem(generators.GENERATORS, "echo", Place("echo"))
    monkeypatch.setattr(shards, "SHARD_IMAGES", 8)
    load_echo.instances = instances  # type: ignore[attr-defined]
    load_echo.next = []  # type: ignore[attr-defined]
    return instances


def load_echo(settings: GenerateSettings, device: str, offline: bool, place: Place) -> Echo:
    made: Echo = load_echo.next.pop() if load_echo.next else Echo()  # type: ignore[attr-defined]
    load_echo.instances.append(made)  # type: ignore[attr-defined]
    return made


def context(
    tmp_path: Path, name: str, *, shots: int = 2, seed: int = 0, **generate: object
) -> StageContext:
    values = {"generator": "echo", "batch": 4, "per_class": 7, **generate}
    settings = Settings(
        data=DataSettings(shots=shots),
        image=ImageSettings(size=16),
        generate=GenerateSettings(**values),
        seed=seed,
    )
    data_folder = tmp_path / f"data{shots}"
    data = (
        Artifact("data", data_folder, {}, "c")
        if data_folder.exists()
        else write_data(data_folder, shots)
    )
    (tmp_path / name).mkdir(exist_ok=True)
    return StageContext(settings, {"data": data}, tmp_path / name, seed)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_what_is_written(tmp_path: Path, loaded: list[Echo]) -> None:
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
    assert facts["sheets"] == ["sheet_rose.png", "sheet_oak.png", "sheet_daisy.png"]
    json.dumps(facts)
    with Image.open(ctx.folder / "sheet_oak.png") as sheet:
        assert sheet.width > sheet.height / 2


class Transposed(Echo):
    """Gives the same pictures as views of a channels-first array, as tensors often are."""

    def decode(self, *arguments: Any, **named: Any) -> np.ndarray:
        made = super().decode(*arguments, **named)
        return np.ascontiguousarray(made.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


def test_pictures_are_kept_whatever_their_layout_in_memory(
    tmp_path: Path, loaded: list[Echo]
) -> None:
    plain, turned = context(tmp_path, "plain"), context(tmp_path, "turned")
    run(plain)
    load_echo.next.append(Transposed())  # type: ignore[attr-defined]
    run(turned)
    assert (plain.folder / "synthetic.npy").read_bytes() == (
        turned.folder / "synthetic.npy"
    ).read_bytes()


@pytest.mark.parametrize("survived", [0, 1, 3, 5])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, loaded: list[Echo], survived: int
) -> None:
    whole = context(tmp_path, "whole")
    expected_facts = run(whole)
    broken = context(tmp_path, "broken")
    load_echo.next.append(Fragile(survived))  # type: ignore[attr-defined]
    with pytest.raises(Interrupted):
        run(broken)
    before = sum(len(echo.prior_seeds) for echo in loaded)
    assert run(broken) == expected_facts
    assert contents(broken.folder) == contents(whole.folder)
    redone = sum(len(echo.prior_seeds) for echo in loaded) - before
    assert redone == 6 - survived // 2 * 2, "finished shards (two batches each) are kept"


def test_a_complete_set_of_shards_needs_no_generator(tmp_path: Path, loaded: list[Echo]) -> None:
    ctx = context(tmp_path, "a")
    facts, files, count = run(ctx), contents(ctx.folder), len(loaded)
    assert run(ctx) == facts
    assert contents(ctx.folder) == files
    assert len(loaded) == count


def test_the_first_images_of_a_larger_run_are_those_of_a_smaller_one(
    tmp_path: Path, loaded: list[Echo]
) -> None:
    small, large = context(tmp_path, "small", per_class=3), context(tmp_path, "large", per_class=9)
    run(small)
    run(large)
    few, many = (np.load(ctx.folder / "synthetic.npy") for ctx in (small, large))
    np.testing.assert_array_equal(few, many[: len(few)])
    lines = [(ctx.folder / "synthetic.jsonl").read_text().splitlines() for ctx in (small, large)]
    assert lines[0] == lines[1][:9]


def test_seeds_decide(tmp_path: Path, loaded: list[Echo]) -> None:
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ctx = context(tmp_path, name, seed=seed)
        run(ctx)
        made.append(np.load(ctx.folder / "synthetic.npy"))
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_only_the_runs_shots_reach_the_generator(tmp_path: Path, loaded: list[Echo]) -> None:
    ctx = context(tmp_path, "a")
    run(ctx)
    own = {row.tobytes() for row in np.load(ctx.inputs["data"].path / "shots.npy")}
    assert {row.tobytes() for echo in loaded for batch in echo.seen for row in batch} <= own
    records = [
        json.loads(line) for line in (ctx.folder / "synthetic.jsonl").read_text().splitlines()
    ]
    assert {key for record in records for key in record["source_ids"]} <= {
        f"train/{i}" for i in range(6)
    }


def test_zero_shots_use_the_caption_alone(tmp_path: Path, loaded: list[Echo]) -> None:
    ctx = context(tmp_path, "a", shots=0, per_class=2)
    facts = run(ctx)
    assert np.load(ctx.folder / "synthetic.npy").shape == (6, EDGE, EDGE, 3)
    assert facts["weights"] == {"0": [1.0]}
    assert not loaded[0].seen


@pytest.mark.parametrize("generate", [{"strategy": "none"}, {"per_class": 0}])
def test_no_synthesis_leaves_empty_files_that_can_be_read(
    tmp_path: Path, loaded: list[Echo], generate: dict[str, object]
) -> None:
    ctx = context(tmp_path, "a", **generate)
    facts = run(ctx)
    assert (facts["images"], facts["generator"]) == (0, None)
    assert np.load(ctx.folder / "synthetic.npy", mmap_mode="r").shape == (0, EDGE, EDGE, 3)
    assert (ctx.folder / "synthetic.jsonl").read_text() == ""
    assert not loaded


def test_an_unknown_strategy_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'sidclip'"):
        run(context(tmp_path, "a", strategy="sidclp"))


def test_a_local_generator_is_identified_by_its_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for part in ("prior", "decoder"):
            (tmp_path / name / part).mkdir(parents=True)
            (tmp_path / name / part / "model_index.json").write_text(
                '{"_class_name": "KandinskyV22Pipeline"}'
            )
    identities = [
        fingerprint(Settings(generate=GenerateSettings(generator=str(tmp_path / n))))
        for n in ("one", "two")
    ]
    assert identities[0] == identities[1]
    (tmp_path / "two" / "decoder" / "weights").write_text("others")
    assert (
        fingerprint(Settings(generate=GenerateSettings(generator=str(tmp_path / "two"))))
        != identities[0]
    )
    pair = f"{tmp_path / 'one' / 'prior'}+{tmp_path / 'one' / 'decoder'}"
    assert fingerprint(Settings(generate=GenerateSettings(generator=pair)))["generator"] != pair
    assert fingerprint(Settings(generate=GenerateSettings(generator="kandinsky-2.2"))) == {
        "generator": "kandinsky-2.2"
    }
    assert fingerprint(Settings(generate=GenerateSettings(strategy="none"))) == {}


def test_the_teacher_belongs_to_the_identity_where_it_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probed = {
        "strategy": "cls2img",
        "generator": "petals",
        "probing": ProbingSettings(candidates=({"steps": 3},)),
    }

    def identity(templates: tuple[str, ...] = ("a {}",), **generate: object) -> dict[str, str]:
        chosen = TeacherSettings(name="petals", templates=templates)
        return fingerprint(Settings(generate=GenerateSettings(**generate), teacher=chosen))

    plain = {"strategy": "cls2img", "generator": "petals"}
    assert set(identity(**plain)) == {"generator"}
    assert identity(**plain) == identity(("the {}",), **plain)
    assert set(identity(**probed)) == {
        "generator",
        "teacher",
        "teacher_templates",
        "teacher_precision",
    }
    assert identity(**probed) != identity(("the {}",), **probed)
    monkeypatch.setattr(ClassToImage, "asks_teacher", True)
    assert "teacher" in identity(**plain)


def test_every_candidates_generator_belongs_to_the_identity() -> None:
    probing = ProbingSettings(
        candidates=({}, {"generator": "stable-diffusion-2.1"}, {"generator": "kandinsky-2.2"})
    )
    settings = Settings(
        generate=GenerateSettings(generator="kandinsky-2.2", strategy="cls2img", probing=probing),
        teacher=TeacherSettings(name="petals"),
    )
    assert fingerprint(settings)["generator"] == "kandinsky-2.2 stable-diffusion-2.1"


def test_planning_loads_no_torch() -> None:
    code = (
        "import sys; from compress.engine.config import *; from compress.generate.stage "
        "import fingerprint;"
        "p = ProbingSettings(candidates=({'strategy': 'img2img'}, {'strategy': 'cls2img'}));"
        "fingerprint(Settings(teacher=TeacherSettings(name='petals'), "
        "generate=GenerateSettings(probing=p)));"
        "assert not {'torch', 'diffusers', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("strategy", ["img2img", "sidclip"])
def test_every_shot_is_encoded_once_even_by_a_resumed_run(
    tmp_path: Path, loaded: list[Echo], strategy: str
) -> None:
    whole, broken = (context(tmp_path, name, strategy=strategy) for name in ("whole", "broken"))
    expected = run(whole)
    assert expected["encoder_images"] == 6
    load_echo.next.append(Fragile(3))  # type: ignore[attr-defined]
    with pytest.raises(Interrupted):
        run(broken)
    assert run(broken) == expected
    assert contents(broken.folder) == contents(whole.folder)
    assert [sum(len(batch) for batch in echo.seen) for echo in loaded] == [6, 6, 0]
    shots = np.load(broken.inputs["data"].path / "shots.npy")
    np.testing.assert_array_equal(
        np.load(broken.folder / "source_conditions.npy"), Echo().embed_images(shots)
    )


def test_conditions_of_img2img_are_its_sources(tmp_path: Path, loaded: list[Echo]) -> None:
    """What condition prediction needs: the record's shot, its row of source_conditions, and the
    image's condition agree.
    """
    ctx = context(tmp_path, "a", strategy="img2img", noise_level=40)
    facts = run(ctx)
    assert (facts["noise_level"], facts["embed_dim"]) == (40, 6)
    assert set(loaded[0].noise_levels) == {40}
    rows = json.loads((ctx.inputs["data"].path / "shots.json").read_text())
    keys = [row["key"] for row in rows]
    source, made = (
        np.load(ctx.folder / f"{name}.npy") for name in ("source_conditions", "conditions")
    )
    for line, condition in zip(
        (ctx.folder / "synthetic.jsonl").read_text().splitlines(), made, strict=True
    ):
        record = json.loads(line)
        row = keys.index(record["source_ids"][0])
        assert rows[row]["label"] == record["class_id"]
        np.testing.assert_array_equal(condition, source[row].astype(np.float16))


def test_images_without_conditions(tmp_path: Path, loaded: list[Echo]) -> None:
    ctx = context(tmp_path, "a", strategy="cls2img", templates=("a {}", "the {}"))
    facts = run(ctx)
    assert (facts["embed_dim"], facts["encoder_images"], facts["probing"]) == (None, 0, None)
    assert np.load(ctx.folder / "conditions.npy").shape == (21, 0)
    assert np.load(ctx.folder / "source_conditions.npy").shape == (0, 0)
    assert not loaded[0].seen


def test_the_ratio_counts_real_images(tmp_path: Path, loaded: list[Echo]) -> None:
    facts = run(context(tmp_path, "a", strategy="img2img", synth_ratio=4.0))
    assert (facts["per_class"], facts["images"]) == (8, 24), "four times two shots"


def test_a_generator_that_cannot_do_it_is_refused_before_it_is_loaded(
    tmp_path: Path, loaded: list[Echo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(generators.KINDS, "echo", Kind(f"{__name__}:load_echo", TEXT))
    with pytest.raises(
        ConfigError, match="takes text only, strategy img2img needs image embeddings · use .*unclip"
    ):
        run(context(tmp_path, "a", strategy="img2img"))
    monkeypatch.setitem(generators.KINDS, "echo", Kind(f"{__name__}:load_echo", TEXT | IMAGE))
    with pytest.raises(
        ConfigError,
        match=r"cannot add noise .*noise_level=3 · expected 0 · use petals or stable-diffusion",
    ):
        run(context(tmp_path, "b", strategy="img2img", noise_level=3))
    assert not loaded


def test_a_generator_whose_kind_turns_out_later_is_refused_then(
    tmp_path: Path, loaded: list[Echo], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "model_index.json"
    index.write_text('{"_class_name": "StableDiffusionPipeline"}')
    monkeypatch.setattr(
        "compress.generate.generators.pipelines.fetch_index", lambda repository, offline: index
    )
    monkeypatch.setitem(generators.KINDS, "stable_diffusion", Kind(f"{__name__}:load_echo", TEXT))
    monkeypatch.setattr(Echo, "takes", TEXT)
    with pytest.raises(ConfigError, match="takes text only"):
        run(context(tmp_path, "a", strategy="img2img", generator="org/some-pipeline"))
    run(context(tmp_path, "b", strategy="cls2img", generator="org/some-pipeline"))


def test_sheets() -> None:
    names = sheet_names(["Water lily", "water-lily", "ばら", "oak"])
    assert names == [
        "sheet_water_lily_0.png",
        "sheet_water_lily_1.png",
        "sheet_class.png",
        "sheet_oak.png",
    ]
    assert contact_sheet([], []).size == (104, 104)
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    sheet = contact_sheet([red], [red] * 9)
    assert sheet.size == (804, 304)
    assert sheet.getpixel((50, 50)) == (255, 0, 0)


def test_the_embedded_generator_runs_through_the_stage(tmp_path: Path) -> None:
    """The real one: shots of another edge in, images at the cache's edge out, the same whatever the
    batch.
    """
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
        files.append(np.load(ctx.folder / "synthetic.npy"))
    assert files[0].shape == (6, EDGE, EDGE, 3)
    np.testing.assert_array_equal(*files)
    assert (facts["generator"], facts["generator_image_size"], facts["embed_dim"]) == (
        "petals",
        32,
        128,
    )
    assert len({image.tobytes() for image in files[0]}) == 6
    with pytest.raises(ConfigError, match="image embeddings only"):
        generators.load_generator(GenerateSettings(generator="petals", text_via_prior=False))
