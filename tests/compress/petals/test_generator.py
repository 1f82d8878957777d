"""The embedded generator: every image from its own seed, however the calls are split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.petals_training.captions import class_prompts
from compress.engine.errors import DataError
from compress.engine.seeds import derive
from compress.petals.generator import CHUNK, PetalsGenerator
from compress.petals.world import SPECIES, render_species


@pytest.fixture(scope="module")
def generator() -> PetalsGenerator:
    return PetalsGenerator()


@pytest.fixture(scope="module")
def embeds(generator: PetalsGenerator) -> torch.Tensor:
    return generator.embed_images(render_species([0, 9, 18, 27], "train", [0, 1, 2, 3]))


def _seeds(count: int) -> list[int]:
    return [derive(0, "test", i) for i in range(count)]


def test_images_are_the_same_bytes_however_calls_are_split(
    generator: PetalsGenerator, embeds: torch.Tensor
) -> None:
    rows, seeds = embeds.repeat(9, 1)[: CHUNK + 2], _seeds(CHUNK + 2)
    together = generator.decode(rows, seeds, steps=2)
    assert together.shape == (CHUNK + 2, 32, 32, 3) and together.dtype == np.uint8
    for part in (slice(0, 1), slice(5, 7), slice(CHUNK - 1, CHUNK + 2)):
        assert np.array_equal(generator.decode(rows[part], seeds[part], steps=2), together[part])
    assert not np.array_equal(together[0], together[4])  # one condition, two seeds


def test_embeddings_are_the_same_bits_however_the_calls_are_split(
    generator: PetalsGenerator,
) -> None:
    images = render_species(list(range(32)) + [0, 1], "train", [0] * 34)
    together = generator.embed_images(images)
    assert together.shape == (34, generator.embed_dim) and torch.allclose(
        together.norm(dim=1), torch.ones(34)
    )
    assert torch.equal(generator.embed_images(images[3:4])[0], together[3])
    prompts = class_prompts()
    drawn = generator.embed_texts(prompts, _seeds(32))
    assert torch.equal(generator.embed_texts(prompts[7:9], _seeds(32)[7:9]), drawn[7:9])


def test_the_prior_draws_anew_for_every_seed(generator: PetalsGenerator) -> None:
    drawn = generator.embed_texts([class_prompts()[0]] * 2, [1, 2])
    assert not torch.equal(drawn[0], drawn[1]) and float(drawn[0] @ drawn[1]) > 0.3


def test_a_drawn_embedding_is_nearest_to_pictures_of_its_own_genus(
    generator: PetalsGenerator,
) -> None:
    seen = generator.embed_images(
        render_species(list(range(32)) * 4, "train", [i // 32 for i in range(128)])
    )
    prototypes = seen.view(4, 32, -1).mean(0)
    drawn = generator.embed_texts(class_prompts(), _seeds(32))
    genus = (drawn @ prototypes.T).argmax(1) // 4 == torch.arange(32) // 4
    assert genus.float().mean() > 0.85


def test_progress_counts_every_image_once(generator: PetalsGenerator, embeds: torch.Tensor) -> None:
    told: list[int] = []
    generator.decode(embeds[:3], _seeds(3), steps=1, guidance_scale=1.0, progress=told.append)
    assert sum(told) == 3


def test_steps_and_guidance_change_the_picture(
    generator: PetalsGenerator, embeds: torch.Tensor
) -> None:
    plain, guided, longer = (
        generator.decode(embeds[:1], [5], steps=steps, guidance_scale=scale)
        for steps, scale in ((2, 1.0), (2, 3.0), (3, 1.0))
    )
    assert not np.array_equal(plain, guided) and not np.array_equal(plain, longer)


def test_wrong_input_is_refused(
    generator: PetalsGenerator, embeds: torch.Tensor, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="uint8"):
        generator.embed_images(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(DataError, match="as many seeds"):
        generator.decode(embeds, [1])
    with pytest.raises(DataError, match="nothing to generate"):
        generator.decode(embeds[:0], [])
    with pytest.raises(DataError, match="is missing"):
        PetalsGenerator(tmp_path)


def test_the_fingerprint_names_the_files_and_the_precision(generator: PetalsGenerator) -> None:
    other = PetalsGenerator(precision="fp32" if generator.precision == "bf16" else "bf16")
    assert generator.fingerprint() == PetalsGenerator().fingerprint() != other.fingerprint()
    assert len(SPECIES) and len(generator.fingerprint()) == 64
