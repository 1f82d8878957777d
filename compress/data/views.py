"""The views of a run's images, each rendered once for all stages and students that use it.

    WORK/views/<digest>.u8      rows of S * S * 3 bytes: row ``image * V + view``
    WORK/views/<digest>.crc32   uint64 per row: 0, or one more than the CRC-32 of its pixels

Rendering a view takes far longer than reading it, and a training reads each many times. The files
are a cache: a row with another sum is rendered again, and what does not fit is never stored. Rows
are read and written at their place, not mapped: a mapped file on a full disk kills the process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.data.augment import ViewRecipe, render_view
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.engine.store import VIEWS, canonical, sha256_text

PIXELS = ".u8"
SUMS = ".crc32"
SUM_BYTES = 8
SHARE = 0.5  # of the free disk that rendered views may take


@dataclass(frozen=True)
class Views:
    """The views of a pool of images ``(N, C, C, 3)``, V of each; the same numbers, the same bytes.

    Attributes:
        pool: "real" or "synthetic"; part of each view's seed.
        place: the files of the cache, without their suffix; None: every view is rendered anew.
        most: rows that are kept; further ones are rendered at every use.
    """

    images: NDArray[np.uint8]
    recipe: ViewRecipe
    seed: int
    pool: str
    views: int
    place: Path | None = None
    most: int = 0

    @classmethod
    def of(cls, ctx: StageContext, pool: str, images: NDArray[np.uint8], views: int) -> Views:
        """The views of a run's real or synthetic images, cached in its work folder."""
        recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
        if ctx.views is None or not ctx.host.cache_mb or not len(images):
            return cls(images, recipe, ctx.seed, pool, views)
        source = ctx.inputs["data" if pool == "real" else "generate"].content
        identity = {"images": source, "recipe": asdict(recipe), "seed": ctx.seed, "views": views}
        place = ctx.views / sha256_text(canonical({**identity, "pool": pool}))[:32]
        row = recipe.size * recipe.size * 3 + SUM_BYTES
        room = make_room(place, len(images) * views * row, ctx.host.cache_mb * 2**20)
        return cls(images, recipe, ctx.seed, pool, views, place, room // row)

    def at(self, row: int) -> NDArray[np.uint8]:
        """The view of a row, ``(S, S, 3)``."""
        kept = self._read(row)
        if kept is not None:
            return kept
        image, view = divmod(row, self.views)
        seed = derive(self.seed, "view", self.pool, image, view)
        rendered = render_view(np.asarray(self.images[image]), self.recipe, seed)
        self._write(row, rendered)
        return rendered

    def submit(
        self, threads: ThreadPoolExecutor, rows: Iterable[int]
    ) -> list[Future[NDArray[np.uint8]]]:
        """Starts to read or render rows."""
        return [threads.submit(self.at, int(row)) for row in rows]

    @cached_property
    def _files(self) -> tuple[int, int] | None:
        """Descriptors of pixels and sums; None where they cannot be had: a read-only disk."""
        if self.place is None or not self.most or not hasattr(os, "pread"):
            return None
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            files = [os.open(f"{self.place}{suffix}", flags, 0o666) for suffix in (PIXELS, SUMS)]
            for file in files:
                os.utime(file)  # used last
        except OSError:
            return None
        return files[0], files[1]

    def _read(self, row: int) -> NDArray[np.uint8] | None:
        if row >= self.most or self._files is None:
            return None
        size = self.recipe.size
        length = size * size * 3
        with contextlib.suppress(OSError):
            known = os.pread(self._files[1], SUM_BYTES, row * SUM_BYTES)
            if known.strip(b"\0") and len(known) == SUM_BYTES:
                pixels = os.pread(self._files[0], length, row * length)
                if len(pixels) == length and _sum(pixels) == known:
                    return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)
        return None

    def _write(self, row: int, view: NDArray[np.uint8]) -> None:
        if row >= self.most or self._files is None:
            return
        pixels = view.tobytes()
        with contextlib.suppress(OSError):  # a full disk: it is a cache only
            os.pwrite(self._files[0], pixels, row * len(pixels))
            os.pwrite(self._files[1], _sum(pixels), row * SUM_BYTES)

    def __del__(self) -> None:
        for file in self.__dict__.get("_files") or ():
            with contextlib.suppress(OSError):
                os.close(file)


def make_room(place: Path, needed: int, most: int) -> int:
    """The bytes that the cache at ``place`` may take; others that were used longest ago go for it.

    Args:
        needed: bytes of all its rows.
        most: bytes of all caches in the folder together.
    """
    folder = place.parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        own = sum(_bytes(Path(f"{place}{suffix}")) for suffix in (PIXELS, SUMS))
        free = shutil.disk_usage(folder).free
        most = min(most, own + int(SHARE * free))
        files = (file for file in folder.iterdir() if VIEWS.fullmatch(file.name))
        others = {file for file in files if file.stem != place.name}
        used = sum(map(_bytes, others))
        for file in sorted(others, key=lambda one: one.stat().st_mtime):
            if used + min(needed, most) <= most:
                break
            used -= _bytes(file)
            file.unlink()
    except OSError:
        return 0
    return max(0, min(needed, most - used))


def _bytes(file: Path) -> int:
    """What a file takes on the disk: holes take nothing."""
    try:
        facts = file.stat()
    except OSError:
        return 0
    return int(getattr(facts, "st_blocks", -(-facts.st_size // 512)) * 512)


def _sum(pixels: bytes) -> bytes:
    return (zlib.crc32(pixels) + 1).to_bytes(SUM_BYTES, "little")
