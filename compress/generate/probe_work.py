"""Probes candidates in spans: of a few images of one candidate the teacher's answers stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.data.geometry import fit_geometry
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.executors.work import Advance, metadata_of, write_span
from compress.generate.shards import Generating, batches, cut
from compress.generate.strategies.table import load_strategy

FEATURES = "features"
REFUSED = "refused"


@dataclass(frozen=True)
class ProbeWork(Generating):
    """Images of every candidate, from seeds of their own.

    Rows count through the candidates, ``images`` of each.
    """

    offered: Sequence[GenerateSettings]
    images: int

    name = "probe"

    def spans(self) -> list[range]:
        """Some batches of one candidate each."""
        firsts = range(0, len(self.offered) * self.images, self.images)
        each = zip(firsts, self.offered, strict=True)
        return [
            span
            for first, settings in each
            for span in cut(range(first, first + self.images), settings.batch)
        ]

    def path(self, span: range) -> Path:
        """The answers to some images."""
        return self.ctx.partial / f"probe_{span.start:07d}.safetensors"

    def about(self, span: range) -> str:
        """The candidate."""
        return f"candidate {span.start // self.images}"

    def make(self, span: range, loaded: None, advance: Advance) -> None:
        """Generates the images and writes the teacher's features of them, or why there are none."""
        number, at = divmod(span.start, self.images)
        settings, rows = self.offered[number], range(at, at + len(span))
        features: list[NDArray[np.float32]] = []
        try:
            strategy = load_strategy(settings, self.sources)
            for part in batches(strategy, lambda: self.tools.get(settings), rows, "probing"):
                whole = fit_geometry(part.images, self.sources.geometry)
                features.append(self.features(whole))
                advance(min(len(whole), len(span) - len(whole) * (len(features) - 1)), 0.0)
        except ConfigError as error:  # img2img without shots, for one
            write_span(self, span, {FEATURES: np.empty((0, 0), np.float32)}, {REFUSED: str(error)})
            return
        write_span(self, span, {FEATURES: np.concatenate(features)[: len(span)]})

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` -> the teacher's unit rows ``(N, D)``."""
        teacher = self.sources.teacher()
        return teacher.encode_images(fit_geometry(images, teacher.spec))

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
