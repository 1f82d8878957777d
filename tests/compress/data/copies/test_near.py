"""Copies are near, other pictures are not."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from compress.data.copies.near import Look, look_of, near_groups


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture with structure at all sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (2, 4, 8, 16):
        part = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(part.resize(size, Image.Resampling.BICUBIC), float) / cells**0.5
    return Image.fromarray(np.uint8(255 * (total - total.min()) / np.ptp(total)))


def again(image: Image.Image, quality: int) -> Image.Image:
    with io.BytesIO() as stream:
        image.save(stream, "JPEG", quality=quality)
        with Image.open(io.BytesIO(stream.getvalue())) as read:
            return read.convert("RGB")


@pytest.mark.parametrize(
    "change",
    [
        lambda image: again(image, 20),
        lambda image: image.resize((80, 60)),
        lambda image: image.resize((300, 225)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: ImageEnhance.Contrast(image).enhance(0.9),
    ],
    ids=["saved again", "smaller", "larger", "brighter", "flatter"],
)
def test_a_changed_copy_is_near(change) -> None:
    looks = [look_of(image) for seed in range(20) for image in (scene(seed), change(scene(seed)))]
    assert near_groups(looks) == [[2 * i, 2 * i + 1] for i in range(20)]


def test_other_pictures_are_not_near() -> None:
    assert near_groups([look_of(scene(seed)) for seed in range(300)]) == []
    mirrored = scene(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    other_color = Image.merge("RGB", scene(0).split()[::-1])
    assert near_groups([look_of(image) for image in (scene(0), mirrored, other_color)]) == []


def test_pictures_without_contrast_are_near_to_none() -> None:
    flat = [Image.new("RGB", (20, 20), (level,) * 3) for level in (100, 101, 255, 255)]
    assert near_groups(list(map(look_of, flat))) == [] == near_groups([])


def test_many_copies_are_one_group() -> None:
    looks = [look_of(again(scene(1), quality)) for quality in range(30, 90, 2)]
    assert near_groups(looks) == [list(range(30))]


def frames(count: int) -> list[Image.Image]:
    """Frames of a camera that does not move: one scene with other noise in each."""
    rng = np.random.default_rng(0)
    still = np.asarray(scene(5), float)
    noisy = [still + rng.normal(0, 4, still.shape) for _ in range(count)]
    return [Image.fromarray(np.uint8(image.clip(0, 255))) for image in noisy]


def test_many_near_frames_are_grouped_in_no_time() -> None:
    looks = [look_of(image) for image in frames(400)]
    start = time.process_time()
    assert near_groups(looks) == [list(range(400))]
    assert time.process_time() - start < 2


def test_no_number_of_images_with_one_border_is_too_many() -> None:
    """Images on white agree in parts of the hash: copies among very many of them are found."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (4200, 16), np.uint8)
    bits[:, :8] = 0
    pictures = rng.integers(0, 256, (4200, 16, 16, 3), np.uint8)
    looks = [Look(bits[i].tobytes(), pictures[i], False) for i in range(4200)]
    assert near_groups([*looks, looks[-1]]) == [[4199, 4200]]


def test_a_chain_is_one_group_whatever_the_order() -> None:
    rng = np.random.default_rng(3)
    still, change = np.asarray(scene(5), float), np.asarray(scene(6), float)
    chain = [still + step * (change - still) for step in np.linspace(0, 0.6, 25)]
    looks = [look_of(Image.fromarray(np.uint8(image))) for image in chain]
    looks += [look_of(scene(seed)) for seed in range(20, 30)]
    assert not near_groups([looks[0], looks[24]]), "its ends are not near"
    for _ in range(5):
        order = rng.permutation(len(looks))
        (group,) = near_groups([looks[i] for i in order])
        assert sorted(order[group].tolist()) == list(range(25))
