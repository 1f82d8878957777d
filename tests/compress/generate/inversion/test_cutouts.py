"""Cut-outs: their geometry against known transforms, their independence, their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.engine.config import InversionSettings, resolve
from compress.engine.errors import ConfigError
from compress.engine.seeds import numpy_rng
from compress.generate.inversion.cutouts import (
    AUGMENTATIONS,
    FULL_FROM,
    NOISE,
    CutoutParameters,
    augmentation,
    cutouts,
    homography,
    pool,
    recolor,
    warp,
)


def pictures(count: int, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_a_cut_out_depends_on_its_own_seed_and_step_alone() -> None:
    images = pictures(3)
    together = cutouts(images, [1, 2, 3], 5, count=2, size=16)
    assert together.shape == (3, 2, 3, 16, 16)
    assert torch.equal(cutouts(images[1:2], [2], 5, count=2, size=16)[0], together[1])
    assert not torch.allclose(cutouts(images, [1, 2, 3], 6, count=2, size=16), together)
    assert not torch.allclose(together[:, 0], together[:, 1])


def test_gradients_reach_the_images() -> None:
    images = pictures(2).requires_grad_()
    cutouts(images, [1, 2], 0, count=8, size=8)[0].sum().backward()
    assert images.grad is not None
    assert (images.grad[0] != 0).float().mean() > 0.5
    assert (images.grad[1] == 0).all()


def test_without_augmentation_they_are_the_pooled_image() -> None:
    images = pictures(2)
    assert torch.equal(cutouts(images, [1, 2], 0, count=2, size=16, augment="none")[:, 1], images)
    halved = pool(images, 8).view(2, 3, 8, 8)
    blocks = images.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    torch.testing.assert_close(halved, (blocks.mean(-1) + blocks.amax(-1)) / 2)


def test_noise_alone_moves_no_pixel() -> None:
    images = torch.full((3, 3, 16, 16), 0.5)
    cuts = cutouts(images, [1, 2, 3], 5, count=40, size=16, augment="noise")
    deviations = (cuts - 0.5).flatten(2).std(-1)
    assert deviations.max() < NOISE * 1.15 and deviations.min() < NOISE / 8
    assert abs(float((cuts - 0.5).mean())) < 1e-2
    again = cutouts(images[1:2], [2], 5, count=40, size=16, augment="noise")
    assert torch.equal(again[0], cuts[1]), "each image by its own seed"
    other = cutouts(images[1:2], [2], 6, count=40, size=16, augment="noise")
    assert not torch.allclose(other[0], cuts[1])


def test_small_images_get_noise_and_large_ones_every_transformation() -> None:
    assert [augmentation("auto", size) for size in (32, FULL_FROM - 1, FULL_FROM, 224)] == [
        "noise",
        "noise",
        "full",
        "full",
    ]
    assert all(augmentation(name, 32) == name == augmentation(name, 224) for name in AUGMENTATIONS)
    assert InversionSettings().augment == "auto"


def test_true_and_false_of_older_settings_are_read() -> None:
    for written, meant in ((True, "full"), (False, "none")):
        made = resolve({"generate": {"inversion": {"augment": written}}})
        assert made.generate.inversion.augment == meant
    with pytest.raises(ConfigError, match="generate.inversion.augment is wrong"):
        resolve({"generate": {"inversion": {"augment": "nois"}}})


def test_the_identity_warps_nothing_and_a_shift_moves_pixels() -> None:
    images = pictures(2)
    torch.testing.assert_close(warp(images, torch.eye(3).expand(2, 3, 3)), images)
    shift = torch.eye(3).repeat(2, 1, 1)
    shift[:, 0, 2] = 2 / 16 * 3  # three pixels
    moved = warp(images, shift)
    torch.testing.assert_close(moved[..., :-3], images[..., 3:])
    assert (moved[..., -3:] == 0).all()


def test_a_homography_takes_its_points_where_they_should_go() -> None:
    rng = np.random.default_rng(0)
    square = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    sources = square * (1 - 0.6 * rng.random((5, 4, 2)))
    made = homography(sources, np.broadcast_to(square, sources.shape))
    points = np.concatenate([sources, np.ones((5, 4, 1))], -1) @ made.transpose(0, 2, 1)
    np.testing.assert_allclose(
        points[..., :2] / points[..., 2:], np.broadcast_to(square, sources.shape), atol=1e-9
    )


def test_colors_keep_gray_gray_and_luma_as_it_was() -> None:
    draw = CutoutParameters(numpy_rng(3, "test"), 64, 8)
    colors = torch.from_numpy(draw.colors).float()
    gray = torch.full((64, 3, 4, 4), 0.5)
    out = recolor(gray, colors, torch.ones(64))
    assert (out - out.mean(1, keepdim=True)).abs().max() < 2e-3, (
        "hue and saturation do nothing to gray"
    )
    assert out.min() >= 0.45 - 1e-3 and out.max() <= 0.55 + 1e-3, (
        "brightness changes by a tenth at most"
    )
    flat = recolor(pictures(64, 4), torch.eye(3).expand(64, 3, 3), torch.zeros(64))
    assert flat.flatten(2).std(-1).max() < 1e-5, "contrast 0 leaves the mean gray"


def test_the_share_of_transformations_and_what_is_erased() -> None:
    draws = [CutoutParameters(numpy_rng(seed, "test"), 4, 32) for seed in range(400)]
    identity = np.mean([np.allclose(h, np.eye(3)) for draw in draws for h in draw.homographies])
    assert identity == pytest.approx(0.09, abs=0.03), "neither moved nor in perspective: 0.3 * 0.3"
    plain = np.mean([np.allclose(c, np.eye(3)) for draw in draws for c in draw.colors])
    assert plain == pytest.approx(0.3, abs=0.05)
    erased = np.array([1 - draw.kept.mean() for draw in draws])
    assert (erased == 0).mean() == pytest.approx(0.3, abs=0.07)
    assert erased.max() < 0.45 and erased[erased > 0].min() > 0.07
    assert all(0 <= sd <= 0.1 for draw in draws for sd in draw.noise)
