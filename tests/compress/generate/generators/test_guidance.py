"""Guidance in a part of the steps: conditional images outside, half the work, every pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")
import torch
from tiny_pipelines import WIDTH, save_kandinsky, save_stable_diffusion, save_unclip

from compress.engine.config import GenerateSettings
from compress.generate.generators.generator import Generator, Sampling
from compress.generate.generators.guidance import guided_steps
from compress.generate.generators.table import load_generator

SEEDS = [1, 2]
KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "stable_diffusion": (save_stable_diffusion, "cls2img"),
    "unclip": (save_unclip, "img2img"),
    "kandinsky": (save_kandinsky, "sidclip"),
}


@pytest.fixture(scope="module", params=[*KINDS, "petals"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    if request.param == "petals":
        return load_generator(GenerateSettings(generator="petals"))
    save, strategy = KINDS[request.param]
    folder = tmp_path_factory.mktemp("generator") / "tiny"
    save(folder)
    height = 32 if request.param == "kandinsky" else None
    return load_generator(GenerateSettings(generator=str(folder), strategy=strategy, height=height))


def images(made: Generator, sampling: Sampling) -> np.ndarray:
    if "image" not in made.takes:
        return made.draw(["rose", "oak"], SEEDS, sampling)
    width = WIDTH if made.name != "petals" else made.embed_dim
    embeds = np.random.default_rng(0).standard_normal((2, width)).astype(np.float32)
    return made.decode(embeds, SEEDS, sampling)


@contextmanager
def rows_seen(made: Any) -> Iterator[list[int]]:
    """Rows of every call of the UNet."""
    unet = made.generator._unet if made.name == "petals" else made.pipeline.unet
    seen: list[int] = []

    def look(_: torch.nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(len(args[0]))

    hook = unet.conv_in.register_forward_pre_hook(look)  # what is computed, whoever cut it
    try:
        yield seen
    finally:
        hook.remove()


def test_without_any_guided_step_images_are_those_without_guidance(made: Generator) -> None:
    plain = images(made, Sampling(3, 1.0)).astype(int)
    none = images(made, Sampling(3, 6.0, interval=(0.0, 0.0))).astype(int)
    assert np.abs(plain - none).max() <= 1, "to one rounding step"


def test_all_steps_are_the_default(made: Generator) -> None:
    whole = images(made, Sampling(3, 6.0))
    np.testing.assert_array_equal(whole, images(made, Sampling(3, 6.0, interval=(0.0, 1.0))))
    part = images(made, Sampling(3, 6.0, interval=(0.3, 0.7)))
    assert not np.array_equal(whole, part), "the middle step alone"
    again = images(made, Sampling(3, 6.0))
    np.testing.assert_array_equal(whole, again, "nothing stays behind")


def test_a_step_outside_costs_half(made: Generator) -> None:
    with rows_seen(made) as seen:
        images(made, Sampling(4, 6.0, interval=(0.25, 0.75)))
    batch = 32 if made.name == "petals" else 2
    assert seen == [batch, 2 * batch, 2 * batch, batch]


def test_an_interval_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 0\.6 to 0\.4"):
        GenerateSettings(guidance_interval=(0.6, 0.4))


@pytest.mark.parametrize(
    ("steps", "interval", "expected"),
    [
        (6, (0.0, 1.0), 6),
        (6, (0.0, 0.5), 3),
        (50, (0.2, 0.8), 30),
        (5, (0.0, 0.5), 3),
        (4, (0.5, 0.5), 0),
    ],
)
def test_how_many_steps_are_guided(
    steps: int, interval: tuple[float, float], expected: int
) -> None:
    assert guided_steps(steps, interval) == expected
