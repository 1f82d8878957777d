"""The run's test sets for models: "test", and "test_<domain>" for every further domain."""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import TEST, DataArtifact
from compress.data.sources import open_source
from compress.data.split import Source, Split, joined
from compress.engine.stage import StageContext
from runtime.preprocess import Geometry, geometry


class TestSets:
    """Reads the data stage; opens the source only for a model with another geometry.

    Attributes:
        names: the test sets, the run's own first.
        own: the domain of the run's own test set; None in a dataset of one domain.
        domains: test set -> its domain, of the further ones.
    """

    __test__ = False  # pytest: not a test class

    def __init__(self, ctx: StageContext) -> None:
        facts = ctx.inputs["data"].facts
        self._settings = ctx.settings.data
        self._fingerprints = ctx.inputs["data"].identity.get("external", {})
        self.own: str | None = facts.get("domain")
        self.domains = {f"{TEST}_{name}": name for name in sorted(facts.get("domains") or {})}
        self.names = (TEST, *self.domains)
        self.images = cache(DataArtifact(ctx.inputs["data"].path).images)
        self.originals = cache(self._open_originals)

    def pixels(
        self, name: str, start: int, end: int, model: Geometry, student: Geometry
    ) -> NDArray[np.uint8]:
        """Images ``start`` to ``end`` in a model's geometry, (B, S, S, 3).

        They are read from the stage where that is the student's geometry, else from the source.
        """
        if model.geometry == student.geometry:
            return np.asarray(self.images(name).pixels[start:end])
        originals = self.originals(name)
        return np.stack([geometry(originals.image(i), model) for i in range(start, end)])

    def labels(self, name: str) -> NDArray[np.int64]:
        """Class numbers (N,) of a test set."""
        return self.images(name).labels

    def _open_originals(self, name: str) -> Split:
        """The images of a test set as they lie in the source, in the test set's order."""
        source = self._source
        split = source.others[self.domains[name]] if name in self.domains else source.test
        if source.facts is not None and source.facts.held_out:  # see readable_hold_out
            split = joined(split, source.train)
        places = {key: place for place, key in enumerate(split.keys)}
        return split.subset([places[key] for key in self.images(name).keys])

    @cached_property
    def _source(self) -> Source:
        source = open_source(self._settings)
        source.refuse_changes(self._fingerprints)
        return source
