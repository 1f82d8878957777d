"""Views: a pure function of the seed, and the operations of torchvision pixel for pixel."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from compress.data.augment import OPERATIONS, ViewRecipe, render_view, sampled, views_each
from compress.engine.config import ImageSettings, LabelSettings

NAMES = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)


def picture(edge: int = 40, seed: int = 0) -> np.ndarray:
    """Something with edges, gradients and noise."""
    y, x = np.mgrid[:edge, :edge] / edge
    base = (
        np.stack([x, y, (x + y) / 2], -1) * 200
        + np.random.default_rng(seed).random((edge, edge, 3)) * 40
    )
    base[edge // 4 : edge // 2, edge // 3 :] = (250, 20, 90)
    return base.astype(np.uint8)


@pytest.mark.parametrize("position", range(len(NAMES)))
@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_operation_equals_torchvision(position: int, magnitude: int, sign: float) -> None:
    from torchvision.transforms import InterpolationMode, RandAugment
    from torchvision.transforms.autoaugment import _apply_op

    image = Image.fromarray(picture())
    magnitudes, signed = RandAugment()._augmentation_space(31, image.size)[NAMES[position]]
    strength = float(magnitudes[magnitude]) if magnitudes.ndim else 0.0
    expected = _apply_op(
        image, NAMES[position], strength * (sign if signed else 1), InterpolationMode.NEAREST, None
    )
    got = OPERATIONS[position](image, magnitude / 30, sign)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def test_a_view_is_a_function_of_its_seed_alone() -> None:
    image, recipe = picture(), ViewRecipe(size=32, resize=36)
    alone = [render_view(image, recipe, seed) for seed in range(64)]
    random.seed(1)
    np.random.seed(1)
    with ThreadPoolExecutor(4) as threads:
        together = list(
            threads.map(lambda seed: render_view(image, recipe, seed), reversed(range(64)))
        )[::-1]
    np.testing.assert_array_equal(alone, together)
    assert len({view.tobytes() for view in alone}) == 64
    assert alone[0].shape == (32, 32, 3)
    assert alone[0].dtype == np.uint8


def test_more_operations_do_not_move_crop_or_flip() -> None:
    image = picture()
    plain = render_view(image, ViewRecipe(32, 36, num_ops=0), 7)
    seen = [
        render_view(image, ViewRecipe(32, 36, num_ops=2, magnitude=0), seed) for seed in range(20)
    ]
    kept = [render_view(image, ViewRecipe(32, 36, num_ops=0), seed) for seed in range(20)]
    assert any(np.array_equal(a, b) for a, b in zip(seen, kept, strict=True)), (
        "magnitude 0 leaves most views alone"
    )
    np.testing.assert_array_equal(plain, kept[7])


def test_a_view_has_the_recipes_size_whatever_the_images() -> None:
    recipe = ViewRecipe(size=40, resize=40, crop_scale_min=1.0, flip=False, num_ops=0)
    for edge in (30, 40, 90):
        view = render_view(picture(edge), recipe, 3)
        assert (view.shape, view.dtype) == ((40, 40, 3), np.uint8)


def test_crops_stay_inside_and_keep_their_area() -> None:
    gradient = np.zeros((100, 100, 3), np.uint8)
    gradient[..., 0] = np.arange(100)
    recipe = ViewRecipe(
        size=50, resize=50, crop_scale_min=0.25, flip=False, num_ops=0, interpolation="bilinear"
    )
    widths = [
        float(np.ptp(render_view(gradient, recipe, seed)[..., 0].astype(int)))
        for seed in range(200)
    ]
    assert min(widths) > 100 * (0.25 * 3 / 4) ** 0.5 - 4
    assert max(widths) <= 99


def test_the_recipe_comes_from_the_settings() -> None:
    label, image = (
        LabelSettings(randaug_num_ops=3, flip=False),
        ImageSettings(size=64, crop_pct=0.8),
    )
    recipe = ViewRecipe.from_settings(label, image)
    assert (recipe.size, recipe.resize, recipe.num_ops, recipe.flip) == (64, 80, 3, False)


def test_rotation_and_grain_are_reproducible_and_change_neither_crop_nor_flip() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    plain = ViewRecipe(size=32, resize=32, num_ops=0)
    for recipe in (
        ViewRecipe(size=32, resize=32, num_ops=0, rotate=180),
        ViewRecipe(size=32, resize=32, num_ops=0, noise=0.1),
    ):
        view = render_view(image, recipe, 5)
        assert np.array_equal(view, render_view(image, recipe, 5))
        assert not np.array_equal(view, render_view(image, recipe, 6))
        assert not np.array_equal(view, render_view(image, plain, 5))
    weak = render_view(image, ViewRecipe(size=32, resize=32, num_ops=0, noise=1e-9), 5)
    assert np.array_equal(weak, render_view(image, plain, 5))
    slight = render_view(
        np.full((40, 40, 3), 128, np.uint8),
        ViewRecipe(size=32, resize=32, num_ops=0, noise=0.05),
        5,
    )
    assert 0 < slight.astype(float).std() < 0.05 * 255


def test_a_turned_image_keeps_its_size_and_fills_its_corners_with_itself() -> None:
    image = np.full((40, 30, 3), 200, np.uint8)
    assert (
        render_view(image, ViewRecipe(size=32, resize=32, num_ops=0, rotate=180), 3) == 200
    ).all()


@pytest.mark.parametrize(
    ("images", "views", "expected"),
    [(96, 12, 12), (2_000, 32, 20), (50_000, 32, 1), (0, 7, 7), (40_000, 2, 1), (20_000, 2, 2)],
)
def test_many_images_have_fewer_views_each_and_at_least_one(
    images: int, views: int, expected: int
) -> None:
    assert views_each(images, views, 40_000) == expected


def test_a_sample_of_many_images_is_even_over_the_classes() -> None:
    labels = np.array([0] * 50 + [1] * 5 + [2] * 45)
    rows = sampled(labels, 30, seed=0)
    assert np.bincount(labels[rows]).tolist() == [13, 5, 12], "all of the rare class"
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == sampled(labels, 30, seed=0).tolist() != sampled(labels, 30, 1).tolist()
    assert sampled(labels, 100, seed=0).tolist() == list(range(100))
