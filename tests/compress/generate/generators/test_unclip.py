"""The unCLIP adapter on a tiny pipeline of the real diffusers class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")
import torch
from tiny_pipelines import WIDTH, save_unclip

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.generators.generator import Sampling
from compress.generate.generators.table import load_generator
from compress.generate.generators.unclip import UnClip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "tiny"
    save_unclip(path)
    return path


def settings(folder: Path, **more: object) -> GenerateSettings:
    return GenerateSettings(generator=str(folder), strategy="img2img", **more)


def loaded(folder: Path, **more: object) -> UnClip:
    made = load_generator(settings(folder, **more))
    assert isinstance(made, UnClip)
    return made


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 255, (count, 48, 48, 3), dtype=np.uint8)


def labels_seen(
    made: UnClip, embeds: np.ndarray, seeds: list[int], scale: float, noise_level: int
) -> torch.Tensor:
    """The class labels that the UNet is given in the first step, ``(2 N or N, 2 E)``."""
    seen: list[torch.Tensor] = []

    def look(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["class_labels"].clone())

    hook = made.pipeline.unet.register_forward_pre_hook(look, with_kwargs=True)
    made.decode(embeds, seeds, Sampling(1, scale, noise_level))
    hook.remove()
    return seen[0]


def test_the_class_label_is_the_embedding_beside_its_noise_level(folder: Path) -> None:
    made = loaded(folder)
    embeds = made.embed_images(pictures(2))
    assert np.abs(np.linalg.norm(embeds, axis=1) - 1).max() > 1e-3, "not normalized"
    label = labels_seen(made, embeds, [1, 2], 10.0, 0)
    assert label.shape == (4, 2 * WIDTH)
    assert not label[:2].any(), "the unconditional half is zero, its noise level included"
    cosine = torch.nn.functional.cosine_similarity(label[2:, :WIDTH], torch.from_numpy(embeds))
    assert (cosine > 0.99).all(), "noise level 0 leaves the embedding nearly as it is"
    assert not torch.equal(label[2:, :WIDTH], torch.from_numpy(embeds)), (
        "but not quite: it is the schedule's first step"
    )


def test_noise_is_that_of_the_library_and_grows_with_its_level(folder: Path) -> None:
    made = loaded(folder)
    embeds = made.embed_images(pictures(2))
    cosines = []
    for level in (0, 300, 900):
        label = labels_seen(made, embeds, [7, 8], 1.0, level)
        assert label.shape == (2, 2 * WIDTH), "without guidance there is no unconditional half"
        theirs = made.pipeline.noise_image_embeddings(
            torch.from_numpy(embeds),
            level,
            generator=[torch.Generator().manual_seed(seed) for seed in (7, 8)],
        )
        torch.testing.assert_close(label, theirs)
        cosines.append(
            float(torch.cosine_similarity(label[:, :WIDTH], torch.from_numpy(embeds)).mean())
        )
    assert cosines[0] > cosines[1] > cosines[2]


def test_each_image_follows_its_seed_and_its_embedding(folder: Path) -> None:
    made = loaded(folder)
    embeds = made.embed_images(pictures(2))
    first = made.decode(embeds, [1, 2], Sampling(2, 10.0, 50))
    assert first.shape == (2, 16, 16, 3)
    alone = made.decode(embeds[1:], [2], Sampling(2, 10.0, 50))
    assert np.abs(alone[0].astype(int) - first[1]).max() <= 1, (
        "not of its batch (to one rounding step)"
    )
    assert not np.array_equal(
        made.decode(embeds[::-1].copy(), [1, 2], Sampling(2, 10.0, 50)), first
    )
    assert not np.array_equal(made.decode(embeds, [1, 3], Sampling(2, 10.0, 50))[1], first[1])
    assert not np.array_equal(made.decode(embeds, [1, 2], Sampling(2, 10.0, 900)), first)


def test_images_are_those_of_the_pipeline_given_the_image_itself(folder: Path) -> None:
    """Encoding first and decoding later is what the library does at once."""
    from PIL import Image

    made = loaded(folder)
    shots = pictures(1)
    ours = made.decode(made.embed_images(shots), [5], Sampling(2, 10.0))
    theirs = made.pipeline(
        Image.fromarray(shots[0]),
        generator=torch.Generator().manual_seed(5),
        num_inference_steps=2,
        guidance_scale=10.0,
        output_type="np",
    ).images
    assert np.abs(ours.astype(int) - (theirs * 255).round()).max() <= 1


@pytest.mark.parametrize("width", [1, WIDTH // 2, 2 * WIDTH])
def test_an_embedding_of_another_encoder_raises(folder: Path, width: int) -> None:
    with pytest.raises(ConfigError, match=rf"got shape \(1, {width}\) · expected \(N, {WIDTH}\)"):
        loaded(folder).decode(np.ones((1, width), np.float32), [1], Sampling(1, 10.0))


def test_parts_of_different_widths_are_refused(tmp_path: Path) -> None:
    save_unclip(tmp_path / "wrong", label=WIDTH)
    with pytest.raises(ConfigError, match="do not belong together"):
        load_generator(settings(tmp_path / "wrong"))


def test_a_text_alone_is_refused(folder: Path) -> None:
    made = loaded(folder)
    for call in (
        lambda: made.embed_texts(["rose"], [1]),
        lambda: made.draw(["rose"], [1], Sampling(1, 1.0)),
    ):
        with pytest.raises(ConfigError, match="takes image embeddings only"):
            call()


def test_the_scheduler_can_be_replaced(folder: Path) -> None:
    made = loaded(folder, scheduler="DPMSolverMultistepScheduler")
    assert (
        made.pipeline.scheduler.config.beta_end
        == json.loads((folder / "scheduler" / "scheduler_config.json").read_text())["beta_end"]
    )
    embeds = made.embed_images(pictures(1))
    assert not np.array_equal(
        made.decode(embeds, [1], Sampling(2, 10.0)),
        loaded(folder).decode(embeds, [1], Sampling(2, 10.0)),
    )


def test_half_precision_gives_nearly_the_same_images(folder: Path) -> None:
    made, exact = loaded(folder, dtype="bf16"), loaded(folder)
    embeds = made.embed_images(pictures(2))
    images = made.decode(embeds, [1, 2], Sampling(2, 10.0, 50))
    difference = np.abs(images.astype(int) - exact.decode(embeds, [1, 2], Sampling(2, 10.0, 50)))
    assert 0 < difference.mean() < 12
