from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image

from compress.evaluate.corruptions import CORRUPTIONS, FRAMES, SEVERITIES, broken_frames, corrupted

RNG = np.random.default_rng(0)
SMALL = Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
PHOTO = np.asarray(SMALL.resize((224, 224), Image.Resampling.BICUBIC))


def off(kind: str, severity: int) -> float:
    """Mean change of a pixel, in 1/255."""
    return float(np.abs(corrupted(PHOTO, kind, severity, 0).astype(int) - PHOTO).mean())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_severity_changes_more_and_repeats(kind: str) -> None:
    before = PHOTO.copy()
    changes = [off(kind, severity) for severity in range(1, SEVERITIES + 1)]
    assert changes[0] > 0.2
    if kind != "rotation":  # a picture that is turned is no closer for being turned less
        assert changes == sorted(changes) and changes[-1] > 1.2 * changes[0]
    strengths = CORRUPTIONS[kind].strengths
    assert list(strengths) == sorted(strengths, reverse=kind == "jpeg")
    first, again = (corrupted(PHOTO, kind, 3, 7) for _ in range(2))
    assert first.shape == PHOTO.shape and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(before, PHOTO)
    for severity in (0, 6):
        with pytest.raises(ValueError, match=r"severity must be 1\.\.5"):
            corrupted(PHOTO, kind, severity, 0)


def test_brightness_is_the_value_of_hsv() -> None:
    got = corrupted(PHOTO, "brightness", 3, 0)
    for y, x in RNG.integers(0, 224, (50, 2)):
        h, s, v = colorsys.rgb_to_hsv(*(PHOTO[y, x] / 255))
        want = np.array(colorsys.hsv_to_rgb(h, s, min(v + 0.3, 1))) * 255
        assert np.abs(got[y, x] - want).max() < 1.01
    black = corrupted(np.zeros((8, 8, 3), np.uint8), "brightness", 5, 0)
    assert set(np.unique(black)) == {128}


def test_noise_has_the_stated_deviation_and_blur_the_stated_width() -> None:
    gray = np.full((224, 224, 3), 128, np.uint8)
    assert corrupted(gray, "noise", 1, 0).std() == pytest.approx(255 * 0.08, rel=0.02)
    edge = np.zeros((224, 224, 3), np.uint8)
    edge[:, 112:] = 255
    for size, image in ((224, edge), (56, edge[84:140, 84:140])):
        row = corrupted(image, "blur", 5, 0)[size // 2, :, 0].astype(float)
        weights = np.abs(np.diff(row))
        places = np.arange(len(weights))
        middle = (weights * places).sum() / weights.sum()
        width = np.sqrt((weights * (places - middle) ** 2).sum() / weights.sum())
        assert width == pytest.approx(6 * size / 224, rel=0.15)


def test_half_of_the_rotations_go_the_other_way() -> None:
    turns = {corrupted(PHOTO, "rotation", 2, seed).tobytes() for seed in range(12)}
    assert len(turns) == 2


def test_broken_frames_are_of_every_kind_and_far_from_the_image() -> None:
    frames = broken_frames(PHOTO[None], 2 * len(FRAMES), 0)
    assert frames.shape == (10, 224, 224, 3) and frames.dtype == np.uint8
    assert (np.abs(frames.astype(int) - PHOTO).mean(axis=(1, 2, 3)) > 20).all()
    np.testing.assert_array_equal(frames, broken_frames(PHOTO[None], 10, 0))
    assert len({frame.tobytes() for frame in frames}) == 10
    rows, blocks = frames[0], frames[1]
    np.testing.assert_array_equal(np.sort(rows.reshape(224, -1)), np.sort(PHOTO.reshape(224, -1)))
    np.testing.assert_array_equal(np.sort(blocks.ravel()), np.sort(PHOTO.ravel()))
    assert (frames[3] == frames[3][0]).all() and frames[4].mean() < 40


@pytest.mark.parametrize("size", [(32, 32), (9, 31)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    assert {corrupted(image, kind, 5, 0).shape for kind in CORRUPTIONS} == {image.shape}
    assert broken_frames(image[None], 5, 0).shape == (5, *image.shape)
