"""Rendered views: the same bytes with and without their cache, each rendered once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.data import views as module
from compress.data.augment import ViewRecipe, render_view
from compress.data.views import PIXELS, SUMS, Views, make_room
from compress.engine.config import HostSettings, Settings
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.store import Artifact

RECIPE = ViewRecipe(16, 16, num_ops=2)
IMAGES = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), np.uint8)
ROW = 16 * 16 * 3 + 8


def context(tmp_path: Path, content: str = "a", **host: object) -> StageContext:
    inputs = {name: Artifact(name, tmp_path, {}, content) for name in ("data", "generate")}
    settings = Settings.model_validate({"image": {"size": 16}, "label": {"randaug_num_ops": 2}})
    views = tmp_path / "views"
    return StageContext(settings, inputs, tmp_path, 5, HostSettings(**host), views=views)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that were rendered."""
    seeds: list[int] = []

    def counting(image: np.ndarray, recipe: ViewRecipe, seed: int) -> np.ndarray:
        seeds.append(seed)
        return render_view(image, recipe, seed)

    monkeypatch.setattr(module, "render_view", counting)
    return seeds


def all_of(views: Views) -> np.ndarray:
    with ThreadPoolExecutor(2) as threads:
        return np.stack([job.result() for job in views.submit(threads, range(6))])


def test_every_view_is_rendered_once(tmp_path: Path, rendered: list[int]) -> None:
    ctx = context(tmp_path)
    first = all_of(Views.of(ctx, "real", IMAGES, 2))
    assert len(rendered) == 6
    again = all_of(Views.of(ctx, "real", IMAGES, 2))  # another stage, another process
    assert len(rendered) == 6 and np.array_equal(first, again)
    plain = Views.of(replace(ctx, views=None), "real", IMAGES, 2)
    assert np.array_equal(first, all_of(plain)) and len(rendered) == 12
    recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
    expected = render_view(IMAGES[2], recipe, derive(5, "view", "real", 2, 1))
    assert np.array_equal(first[5], expected)


@pytest.mark.parametrize("other", ["pool", "content", "views"])
def test_other_views_have_another_place(tmp_path: Path, other: str) -> None:
    base = Views.of(context(tmp_path), "real", IMAGES, 2)
    changed = {
        "pool": lambda: Views.of(context(tmp_path), "synthetic", IMAGES, 2),
        "content": lambda: Views.of(context(tmp_path, "b"), "real", IMAGES, 2),
        "views": lambda: Views.of(context(tmp_path), "real", IMAGES, 3),
    }[other]()
    assert base.place != changed.place


def pixels_of(views: Views) -> Path:
    return Path(f"{views.place}{PIXELS}")


@pytest.mark.parametrize("damage", ["flip", "cut", "sum", "gone"])
def test_a_damaged_row_is_rendered_again(tmp_path: Path, rendered: list[int], damage: str) -> None:
    views = Views.of(context(tmp_path), "real", IMAGES, 2)
    first = all_of(views)
    file = pixels_of(views)
    sums = Path(f"{views.place}{SUMS}")
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    if damage == "flip":
        file.write_bytes(content)
    elif damage == "cut":
        os.truncate(file, len(content) - 5)
    elif damage == "sum":
        sums.write_bytes(b"\x07" * 8 + sums.read_bytes()[8:])
    else:
        file.unlink()
    again = Views.of(context(tmp_path), "real", IMAGES, 2)
    assert np.array_equal(all_of(again), first)
    assert len(rendered) == (12 if damage == "gone" else 7)
    assert np.array_equal(all_of(again), first), "and is whole again"
    assert len(rendered) == (12 if damage == "gone" else 7)


def test_what_does_not_fit_is_rendered_at_every_use(tmp_path: Path, rendered: list[int]) -> None:
    views = Views.of(context(tmp_path), "real", IMAGES, 2)
    small = replace(views, most=4)
    first = all_of(small)
    assert np.array_equal(all_of(small), first)
    assert len(rendered) == 6 + 2 and pixels_of(views).stat().st_size == 4 * (ROW - 8)


def test_a_disk_that_refuses_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendered: list[int]
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    views = Views.of(context(tmp_path), "real", IMAGES, 2)
    assert np.array_equal(all_of(views), all_of(replace(views, place=None)))
    (tmp_path / "file").write_text("")
    nowhere = replace(context(tmp_path), views=tmp_path / "file" / "views")
    assert np.array_equal(all_of(Views.of(nowhere, "real", IMAGES, 2)), all_of(views))
    off = Views.of(context(tmp_path, cache_mb=0), "real", IMAGES, 2)
    assert off.place is None


def test_the_caches_used_longest_ago_make_room(tmp_path: Path) -> None:
    old, middle, new, mine, big = (letter * 32 for letter in "01abc")
    (tmp_path / "home.py").write_text("not ours")
    (tmp_path / "folder").mkdir()
    for age, name in ((30, old), (20, middle), (10, new)):
        file = tmp_path / f"{name}{PIXELS}"
        file.write_bytes(bytes(8192))
        os.utime(file, (1000 - age, 1000 - age))
    others = {"home", "folder"}
    assert make_room(tmp_path / mine, 8192, 3 * 8192) == 8192
    assert {file.stem for file in tmp_path.iterdir()} == {middle, new, *others}
    assert make_room(tmp_path / new, 8192, 2 * 8192) == 8192, "its own bytes do not count twice"
    assert make_room(tmp_path / big, 10**15, 2 * 8192) == 2 * 8192
    assert {file.stem for file in tmp_path.iterdir()} == others
