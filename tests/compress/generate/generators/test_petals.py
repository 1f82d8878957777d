"""The embedded generator: noise on its embeddings, texts, and folders of its kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compress.engine.config import GenerateSettings, Settings
from compress.engine.errors import ConfigError
from compress.generate.generators.generator import Sampling
from compress.generate.generators.petals import Petals, noised
from compress.generate.generators.table import load_generator
from compress.generate.missing import missing
from compress.generate.stage import fingerprint
from compress.petals.weights import WEIGHTS

LEVELS = (1, 100, 400, 700, 998)


@pytest.fixture(scope="module")
def petals() -> Petals:
    made = load_generator(GenerateSettings(generator="petals"))
    assert isinstance(made, Petals)
    return made


def unit(count: int, width: int = 128) -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_level_zero_leaves_the_embedding_as_it_is() -> None:
    embeds = unit(3)
    assert noised(embeds, [1, 2, 3], 0) is embeds


def test_noise_follows_the_schedule_of_unclip() -> None:
    """The part of the embedding that is left, against diffusers' own cosine schedule."""
    from diffusers import DDPMScheduler

    alphas = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    for level in LEVELS:
        embeds = np.zeros((1, 4), np.float32)
        a, b = noised(embeds, [1], level), noised(embeds + 1, [1], level)
        np.testing.assert_allclose(b - a, float(alphas[level]) ** 0.5, atol=1e-4)


def test_noise_has_the_deviation_of_the_embedding_and_is_seeded_per_row() -> None:
    embeds = unit(64)
    made = noised(embeds, list(range(64)), 700)
    assert np.linalg.norm(made, axis=1).mean() == pytest.approx(1, abs=0.05), (
        "unit length is kept on average"
    )
    np.testing.assert_array_equal(noised(embeds[5:6], [5], 700)[0], made[5])
    cosines = [
        float((embeds * noised(embeds, list(range(64)), level)).sum(axis=1).mean())
        for level in LEVELS
    ]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[0] > 0.999
    assert cosines[-1] < 0.1


def test_noise_changes_the_images_and_each_follows_its_seed(petals: Petals) -> None:
    embeds = petals.embed_texts(["red rose", "red rose"], [1, 2])
    plain, noisy = (petals.decode(embeds, [3, 4], Sampling(2, 1.5, level)) for level in (0, 500))
    assert not np.array_equal(plain, noisy)
    np.testing.assert_array_equal(
        petals.decode(embeds[1:], [4], Sampling(2, 1.5, 500))[0], noisy[1]
    )


def test_a_drawn_text_depends_on_its_seed_alone(petals: Petals) -> None:
    made = petals.draw(["red rose", "red rose"], [1, 2], Sampling(2, 1.5))
    assert made.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(petals.draw(["red rose"], [2], Sampling(2, 1.5))[0], made[1])
    assert not np.array_equal(made[0], made[1])


def test_embeddings_of_another_width_are_refused(petals: Petals) -> None:
    with pytest.raises(ConfigError, match=r"expected \(N, 128\)"):
        petals.decode(np.ones((1, 1), np.float32), [1], Sampling(2, 1.5))


def test_a_folder_of_the_same_kind_is_a_generator_too(petals: Petals, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    for part in ("teacher", "prior", "unet", "scheduler"):
        (folder / part).symlink_to(WEIGHTS / part)
    settings = GenerateSettings(generator=str(folder))
    assert missing(Settings(generate=settings), online=False) is None
    made = load_generator(settings)
    assert (made.name, made.license, petals.license) == (str(folder), "unknown", "Apache-2.0")
    assert made.fingerprint() == petals.fingerprint()
    embeds = petals.embed_texts(["red rose"], [1])
    np.testing.assert_array_equal(
        made.decode(embeds, [1], Sampling(2, 1.5)), petals.decode(embeds, [1], Sampling(2, 1.5))
    )


def test_a_folder_is_identified_by_its_content(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        for part in ("teacher", "prior", "unet", "scheduler"):
            (folder / part).mkdir(parents=True)
            (folder / part / "weights").write_text(part)
    identities = [
        fingerprint(Settings(generate=GenerateSettings(generator=str(folder))))
        for folder in folders
    ]
    assert identities[0] == identities[1] != {"generator": str(folders[0])}
    (folders[1] / "unet" / "weights").write_text("others")
    assert (
        fingerprint(Settings(generate=GenerateSettings(generator=str(folders[1])))) != identities[0]
    )
