"""The Kandinsky 2.2 adapter on tiny pipelines, loaded as the published ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers")
import torch
from tiny_pipelines import WIDTH, save_kandinsky

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, DownloadError
from compress.engine.seeds import derive
from compress.generate.generators.generator import GeneratorWeights, Sampling
from compress.generate.generators.kandinsky import Kandinsky
from compress.generate.generators.table import load_generator, locate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "tiny"
    save_kandinsky(path)
    return path


def settings(folder: Path, **more: object) -> GenerateSettings:
    values = {"generator": str(folder), "height": 32, "prior_steps": 3, "batch": 4, **more}
    return GenerateSettings(**values)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 255, (count, 48, 48, 3), dtype=np.uint8)


def test_images_and_texts_become_raw_embeddings(folder: Path) -> None:
    made = load_generator(settings(folder))
    images = made.embed_images(pictures(3))
    texts = made.embed_texts(["rose", "tulip"], [1, 2])
    assert (images.shape, texts.shape, made.embed_dim) == ((3, WIDTH), (2, WIDTH), WIDTH)
    assert images.dtype == texts.dtype == np.float32
    assert np.abs(np.linalg.norm(images, axis=1) - 1).max() > 1e-3, "not normalized"
    assert made.embed_images(pictures(3)[:0]).shape == (0, WIDTH)


def test_the_mix_equals_the_librarys_interpolate(folder: Path) -> None:
    """Our embeddings and mixer against KandinskyV22PriorPipeline.interpolate with the same
    generator and weights.
    """
    from PIL import Image

    from compress.generate.strategies.sidclip import mix

    made = load_generator(settings(folder))
    assert isinstance(made, Kandinsky)
    image = pictures(1)
    ours = mix(
        np.stack([made.embed_texts(["rose"], [7])[0], made.embed_images(image)[0]]), [0.4, 0.6]
    )
    theirs = made.prior.interpolate(
        ["rose", Image.fromarray(image[0])],
        [0.4, 0.6],
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(7),
    )
    np.testing.assert_allclose(ours, theirs.image_embeds[0].numpy(), atol=1e-4)
    with torch.no_grad():
        zero = made.prior.get_zero_embed(1).numpy()
    np.testing.assert_allclose(zero, theirs.negative_image_embeds.numpy(), atol=1e-5)


def test_the_prior_is_stochastic_and_seeded_per_image(folder: Path) -> None:
    made = load_generator(settings(folder))
    both = made.embed_texts(["rose", "rose"], [1, 2])
    assert not np.allclose(both[0], both[1])
    np.testing.assert_allclose(made.embed_texts(["rose"], [2])[0], both[1], atol=1e-4)


def test_without_the_prior_the_text_embedding_is_raw_and_without_chance(folder: Path) -> None:
    made = load_generator(settings(folder, text_via_prior=False))
    both = made.embed_texts(["rose", "rose"], [1, 2])
    np.testing.assert_array_equal(both[0], both[1])
    assert not np.allclose(both[0], load_generator(settings(folder)).embed_texts(["rose"], [1])[0])


@pytest.mark.parametrize("scheduler", [None, *Kandinsky.schedulers])
def test_every_scheduler_decodes_and_each_image_follows_its_seed(
    folder: Path, scheduler: str | None
) -> None:
    made = load_generator(settings(folder, scheduler=scheduler))
    embeds = made.embed_images(pictures(2))
    first = made.decode(embeds, [1, 2], Sampling(2, 4.0))
    assert first.shape == (2, 32, 32, 3)
    assert first.dtype == np.uint8
    alone = made.decode(embeds[1:], [2], Sampling(2, 4.0))
    assert np.abs(alone[0].astype(int) - first[1]).max() <= 1, (
        "not of its batch (to one rounding step)"
    )
    other = made.decode(embeds, [3, 2], Sampling(2, 4.0))
    assert not np.array_equal(other[0], first[0])
    np.testing.assert_array_equal(other[1], first[1])


def test_the_scheduler_is_really_replaced(folder: Path) -> None:
    images = {}
    for name in (None, "DPMSolverMultistepScheduler"):
        made = load_generator(settings(folder, scheduler=name))
        assert isinstance(made, Kandinsky)
        images[name] = made.decode(np.ones((1, WIDTH), np.float32), [1], Sampling(3, 4.0))
        assert made.pipeline.scheduler.config.beta_end == 0.012, (
            "the noise schedule it was trained with is kept"
        )
    assert not np.array_equal(images[None], images["DPMSolverMultistepScheduler"])


def test_guidance_of_one_needs_no_unconditional_branch(folder: Path) -> None:
    made = load_generator(settings(folder))
    assert made.decode(made.embed_images(pictures(1)), [1], Sampling(2, 1.0)).shape == (
        1,
        32,
        32,
        3,
    )


def test_a_drawn_text_is_a_draw_of_the_prior_that_is_decoded(folder: Path) -> None:
    made = load_generator(settings(folder))
    drawn = made.draw(["rose", "tulip"], [1, 2], Sampling(2, 4.0))
    embeds = made.embed_texts(["rose", "tulip"], [derive(seed, "prior") for seed in (1, 2)])
    np.testing.assert_array_equal(
        drawn, made.decode(embeds, [derive(seed, "decode") for seed in (1, 2)], Sampling(2, 4.0))
    )
    assert not np.array_equal(drawn, made.draw(["rose", "tulip"], [3, 4], Sampling(2, 4.0)))


def test_wrong_options_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'DPMSolverMultistepScheduler'"):
        load_generator(settings(folder, scheduler="DPMSolverMultistep"))
    with pytest.raises(ConfigError, match="a multiple of 4"):
        load_generator(settings(folder, height=34))
    with pytest.raises(ConfigError, match="did you mean 'kandinsky-2.2'"):
        load_generator(settings(folder, generator="kandinsky"))
    with pytest.raises(ConfigError, match="no model_index.json"):
        load_generator(settings(tmp_path))
    with pytest.raises(ConfigError, match="cannot add noise"):
        load_generator(settings(folder)).decode(
            np.ones((1, WIDTH), np.float32), [1], Sampling(2, 4.0, noise_level=5)
        )
    with pytest.raises(ConfigError, match="no embeddings of generator"):
        load_generator(settings(folder)).decode(np.ones((1, 1), np.float32), [1], Sampling(2, 4.0))


def test_a_pair_may_lie_in_two_places(folder: Path) -> None:
    assert locate("org/prior+org/decoder") == GeneratorWeights(
        "kandinsky", ("org/prior", "org/decoder")
    )
    pair = load_generator(settings(folder, generator=f"{folder / 'prior'}+{folder / 'decoder'}"))
    assert pair.fingerprint() == load_generator(settings(folder)).fingerprint()


def test_offline_is_one_error_that_says_where_to_put_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        load_generator(settings(folder, generator="kandinsky-2.2"), offline=True)
    assert "--generator FOLDER" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    file = copy / "decoder" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(DownloadError):
        load_generator(settings(copy))
