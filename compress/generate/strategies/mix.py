"""Several strategies in one set of images, by shares: ``generate.shares``.

They miss different things: images of names vary most and may show another thing, images of shots
look like the photos and repeat them. Which is better differs between data sets by less than the
probing can see; a mix needs no choice [I]. ``label.weight`` and the agreement filter sort out what
the teacher does not recognize.

The images of a class take turns, so that every prefix has the shares. Image j of a class is the
strategy's own next one, made by its own rules from the seed of image j.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.artifact import SyntheticRecord
from compress.generate.generators.generator import Generator
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.sources import Sources
from compress.generate.strategies.cls2img import ClassToImage
from compress.generate.strategies.img2img import ImageToImage
from compress.generate.strategies.sidclip import Sidclip
from compress.generate.strategies.strategy import Strategy

Turn = tuple[str, int]  # whose image it is, and its number among that strategy's

#: those that one generator makes, by their names in `generate.shares`
PARTS: dict[str, type[Strategy]] = {
    "sidclip": Sidclip,
    "cls2img": ClassToImage,
    "img2img": ImageToImage,
}


class Mix(Strategy):
    """The strategy; refuses what one of its parts refuses.

    It keeps no conditions: of a drawn image there is none, and rows without one have no place in
    the file. So condition prediction (``cp``) cannot learn from it.
    """

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        super().__init__(settings, sources)
        self.shares: dict[str, float] = {
            name: share for name, share in settings.shares.items() if share > 0
        }
        if not self.shares:
            raise ConfigError(
                "strategy mix has nothing to mix",
                got=f"generate.shares={dict(settings.shares)}",
                expected="a share above 0",
                remedy="--set 'generate.shares={sidclip: 1}'",
            )
        self.parts: dict[str, Strategy] = {
            name: PARTS[name](settings, sources) for name in self.shares
        }
        self._turns: list[Turn] = []

    def check(self) -> None:
        """What a part refuses."""
        for part in self.parts.values():
            part.check()

    def facts(self) -> Mapping[str, object]:
        """The shares, and what the parts say."""
        each = {name: dict(part.facts()) for name, part in self.parts.items()}
        return {"shares": self.shares, "parts": each}

    def turn(self, number: int) -> Turn:
        """Whose turn image ``number`` of a class is."""
        while len(self._turns) <= number:
            self._turns.append(next_turn(self.shares, self._turns))
        return self._turns[number]

    def generate(self, jobs: Sequence[Job], tool: Generator) -> GeneratedBatch:
        """Every part generates its own jobs of the batch."""
        mine: dict[str, list[int]] = {}
        for place, job in enumerate(jobs):
            mine.setdefault(self.turn(job.number)[0], []).append(place)
        places: list[int] = []
        made: list[GeneratedBatch] = []
        for name, rows in mine.items():
            own = [replace(jobs[row], number=self.turn(jobs[row].number)[1]) for row in rows]
            made.append(self.parts[name].generate(own, tool))
            places += rows
        order = np.argsort(places)
        records: list[SyntheticRecord] = [one for batch in made for one in batch.records]
        return GeneratedBatch(
            np.concatenate([batch.images for batch in made])[order],
            np.empty((len(jobs), 0), np.float32),
            [replace(records[row], cond_embedding_ref=None) for row in order],
        )


def next_turn(shares: Mapping[str, float], before: Sequence[Turn]) -> Turn:
    """The strategy that is furthest behind its share, the first of equals, and its number."""
    counts = {name: sum(one == name for one, _ in before) for name in shares}
    goal = (len(before) + 1) / sum(shares.values())
    name = max(shares, key=lambda one: shares[one] * goal - counts[one])
    return name, counts[name]
