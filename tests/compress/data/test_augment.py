"""Views: a pure function of the seed, and the operations of torchvision pixel for pixel."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from compress.data.augment import OPERATIONS, ViewRecipe, render_view, sampled, views_each
from compress.engine.config import ImageSettings, LabelSettings
from compress.engine.seeds import numpy_rng

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


def seen_box(image: np.ndarray, recipe: ViewRecipe, seed: int) -> list[float]:
    """Left, top, right and bottom edge of a view's crop in an image whose red and green are x, y.

    A pixel's color is the place of its center, so a line through the colors has the edges at its
    ends.
    """
    view = render_view(image, recipe, seed).astype(np.float64)
    centers = (np.arange(recipe.size) + 0.5) / recipe.size
    edges = []
    for channel, axis in ((0, 0), (1, 1)):  # the mean over the other axis
        slope, start = np.polyfit(centers, view[..., channel].mean(axis), 1)
        edges.append((start + 0.5, start + slope + 0.5))
    return [edges[0][0], edges[1][0], edges[0][1], edges[1][1]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("flip", [False, True])
def test_another_size_has_the_same_crop_and_the_same_side_up(seed: int, flip: bool) -> None:
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    recipe = ViewRecipe(32, 256, "bilinear", crop_scale_min=0.2, flip=flip, num_ops=0)
    small, large = (seen_box(image, recipe.at(size), seed) for size in (32, 224))
    assert recipe.at(224) == ViewRecipe(224, 256, "bilinear", 0.2, flip, 0)
    assert np.allclose(small, large, atol=1.5), "of 256 pixels"
    assert abs(large[2] - large[0]) > 80 and (flip or large[2] > large[0])


def test_another_size_shows_details_that_the_small_one_lost() -> None:
    fine = np.tile(np.array([0, 255], np.uint8), (256, 128))  # stripes of one pixel
    image = np.repeat(fine[..., None], 3, -1)
    recipe = ViewRecipe(32, 256, crop_scale_min=1.0, flip=False, num_ops=0)
    small, large = (render_view(image, recipe.at(size), 3).std() for size in (32, 256))
    assert small < 30 < large


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


@pytest.mark.parametrize("seed", range(4))
def test_jitter_changes_colors_by_its_factors_and_nothing_else(seed: int) -> None:
    plain = ViewRecipe(16, 16, num_ops=0)
    image = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image //= 2  # room for more brightness
    view = render_view(image, plain, seed)
    made = render_view(image, replace(plain, jitter=0.3), seed)
    b, c, s = 1 + 0.3 * (2 * numpy_rng(seed, "jitter").random(3) - 1)
    assert min(b, c, s) > 0.7 and max(b, c, s) < 1.3
    expected = functional.adjust_brightness(Image.fromarray(view), b)
    expected = functional.adjust_contrast(expected, c)
    expected = functional.adjust_saturation(expected, s)
    np.testing.assert_array_equal(made, np.asarray(expected))
    assert not np.array_equal(made, view)
    small = LabelSettings(jitter=0.25)
    assert ViewRecipe.from_settings(small, ImageSettings(size=16)).jitter == 0.25


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


@pytest.mark.parametrize(
    ("images", "expected"), [(2, 64), (12, 64), (24, 32), (48, 16), (96, 12), (50_000, 1), (0, 64)]
)
def test_few_images_have_more_views_each(images: int, expected: int) -> None:
    assert views_each(images, 12, 40_000, 768) == expected
    assert views_each(images, 100, 40_000, 768) == views_each(images, 100, 40_000)


def test_a_sample_of_many_images_is_even_over_the_classes() -> None:
    labels = np.array([0] * 50 + [1] * 5 + [2] * 45)
    rows = sampled(labels, 30, seed=0)
    assert np.bincount(labels[rows]).tolist() == [13, 5, 12], "all of the rare class"
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == sampled(labels, 30, seed=0).tolist() != sampled(labels, 30, 1).tolist()
    assert sampled(labels, 100, seed=0).tolist() == list(range(100))
