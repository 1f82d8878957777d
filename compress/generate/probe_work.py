"""Probes candidates in spans: a few images of each, and the teacher's answers to them.

The images are the first ones of the bulk: those of the chosen candidate are not made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.executors.work import Advance, metadata_of, write_span
from compress.engine.partial import kept
from compress.generate.shards import Generating, ShardWork, cut, unit_rows
from compress.generate.strategies.table import load_strategy

FEATURES = "features"
REFUSED = "refused"


@dataclass(frozen=True)
class ProbeWork(Generating):
    """The first images of every candidate.

    Rows count through the candidates, ``images`` of each.
    """

    offered: Sequence[GenerateSettings]
    images: int

    name = "probe"

    def spans(self) -> list[range]:
        """Some batches of one candidate each."""
        classes = len(self.sources.classes)
        firsts = range(0, len(self.offered) * self.images, self.images)
        each = zip(firsts, self.offered, strict=True)
        return [
            span
            for first, settings in each
            for span in cut(range(first, first + self.images), unit_rows(settings, classes))
        ]

    def path(self, span: range) -> Path:
        """Some images and the answers to them."""
        return self.ctx.partial / f"probe_{span.start:07d}.safetensors"

    def about(self, span: range) -> str:
        """The candidate."""
        return f"candidate {span.start // self.images}"

    def make(self, span: range, loaded: None, advance: Advance) -> None:
        """Generates the images and writes them and their features, or why there are none."""
        number, at = divmod(span.start, self.images)
        try:
            strategy = load_strategy(self.offered[number], self.sources)
            shard = self.shard(strategy, range(at, at + len(span)), advance)
        except ConfigError as error:  # img2img without shots, for one
            write_span(self, span, {FEATURES: np.empty((0, 0), np.float32)}, {REFUSED: str(error)})
            return
        arrays, metadata = shard.content()
        write_span(self, span, {**arrays, FEATURES: self.features(shard.images)}, metadata)

    def keep(self, chosen: int, shards: ShardWork) -> None:
        """Makes the images of a candidate those of the bulk, where they are whole shards of it."""
        from safetensors.numpy import load_file, save_file

        wanted = set(shards.spans())
        for span in self.spans():
            number, at = divmod(span.start, self.images)
            rows = range(at, at + len(span))
            source, target = self.path(span), shards.path(rows)
            if number == chosen and rows in wanted and source.exists() and not target.exists():
                arrays = load_file(source)
                del arrays[FEATURES]
                with kept(target) as temporary:
                    save_file(arrays, temporary, metadata=metadata_of(source))

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` -> the teacher's unit rows ``(N, D)``."""
        return self.sources.teacher().encode_images(images)

    def answers(self, files: Sequence[Path]) -> list[NDArray[np.float32] | str]:
        """Of each candidate, in order: the features ``(images, D)``, or why it has no images."""
        from safetensors.numpy import load_file

        found: list[NDArray[np.float32] | str] = []
        by_span = dict(zip(self.spans(), files, strict=True))
        for number in range(len(self.offered)):
            own = [file for span, file in by_span.items() if span.start // self.images == number]
            refused = [text for file in own if (text := metadata_of(file).get(REFUSED))]
            rows = [load_file(file)[FEATURES] for file in own] if not refused else []
            found.append(refused[0] if refused else np.concatenate(rows))
        return found
