"""The Stable Diffusion adapter on a tiny pipeline, loaded as the published ones are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")
import torch
from safetensors.torch import load_file, save_file
from tiny_pipelines import save_stable_diffusion

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, DownloadError
from compress.generate.generators import pipelines
from compress.generate.generators.generator import Sampling
from compress.generate.generators.stable_diffusion import StableDiffusion
from compress.generate.generators.table import load_generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "tiny"
    save_stable_diffusion(path)
    return path


def settings(folder: Path, **more: object) -> GenerateSettings:
    return GenerateSettings(generator=str(folder), strategy="cls2img", **more)


@pytest.mark.parametrize("scheduler", [None, *StableDiffusion.schedulers])
def test_every_scheduler_draws_and_each_image_follows_its_seed(
    folder: Path, scheduler: str | None
) -> None:
    made = load_generator(settings(folder, scheduler=scheduler))
    first = made.draw(["rose", "oak"], [1, 2], Sampling(2, 7.5))
    assert first.shape == (2, 16, 16, 3)
    assert first.dtype == np.uint8
    alone = made.draw(["oak"], [2], Sampling(2, 7.5))
    assert np.abs(alone[0].astype(int) - first[1]).max() <= 1, (
        "not of its batch (to one rounding step)"
    )
    other = made.draw(["rose", "oak"], [3, 2], Sampling(2, 7.5))
    assert not np.array_equal(other[0], first[0])
    np.testing.assert_array_equal(other[1], first[1])


def test_images_follow_the_text_and_the_guidance(folder: Path) -> None:
    made = load_generator(settings(folder))
    images = [
        made.draw([text], [1], Sampling(2, scale))
        for text, scale in (("rose", 7.5), ("oak", 7.5), ("rose", 1.0))
    ]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_the_size_is_as_trained_or_as_set(folder: Path) -> None:
    assert load_generator(settings(folder)).image_size == 16
    assert load_generator(settings(folder, height=32)).draw(
        ["rose"], [1], Sampling(1, 1.0)
    ).shape == (1, 32, 32, 3)
    with pytest.raises(ConfigError, match="a multiple of 2"):
        load_generator(settings(folder, height=33))


def test_embeddings_are_refused(folder: Path) -> None:
    made = load_generator(settings(folder))
    calls = (
        lambda: made.embed_images(np.zeros((1, 8, 8, 3), np.uint8)),
        lambda: made.embed_texts(["rose"], [1]),
        lambda: made.decode(np.zeros((1, 4), np.float32), [1], Sampling(1, 1.0)),
    )
    for call in calls:
        with pytest.raises(ConfigError, match="takes text only"):
            call()


def test_the_fingerprint_repeats_and_wrong_options_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    assert (
        load_generator(settings(folder)).fingerprint()
        == load_generator(settings(folder)).fingerprint()
    )
    with pytest.raises(ConfigError, match="did you mean 'EulerDiscreteScheduler'"):
        load_generator(settings(folder, scheduler="EulerDiscrete"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("stable-diffusion-2.1", "org/unheard-of"):
        with pytest.raises(DownloadError, match="--generator FOLDER"):
            load_generator(settings(folder).model_copy(update={"generator": name}), offline=True)


def test_half_precision_gives_nearly_the_same_images(folder: Path) -> None:
    made, exact = load_generator(settings(folder, dtype="bf16")), load_generator(settings(folder))
    images = made.draw(["rose", "oak"], [1, 2], Sampling(2, 7.5))
    difference = np.abs(images.astype(int) - exact.draw(["rose", "oak"], [1, 2], Sampling(2, 7.5)))
    assert 0 < difference.mean() < 12


@pytest.mark.parametrize(("pays", "expected"), [(True, "torch.bfloat16"), (False, "torch.float32")])
def test_auto_is_what_the_device_is_fast_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pays: bool, expected: str
) -> None:
    monkeypatch.setattr(pipelines, "bf16_pays", lambda device: pays)
    made = load_generator(settings(folder, dtype="auto"))
    assert isinstance(made, StableDiffusion)
    assert str(made.pipeline.unet.dtype) == expected


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "tiny")
    file = next((tmp_path / "tiny" / "vae").glob("*.safetensors"))
    state = load_file(file)
    name = min(state)
    save_file(state | {name: torch.full_like(state[name], torch.nan)}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=f"vae of generator .* that are no numbers.*{name}"):
        load_generator(settings(tmp_path / "tiny"))
