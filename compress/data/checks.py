"""Before any work: what the data stage and the readers of its images would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from compress.data.datasets.catalog import dataset, open_dataset, refuse_options, root_of
from compress.data.shots import require_shots
from compress.data.sources import open_source
from compress.data.split import Source
from compress.engine.config import Settings
from compress.engine.preflight import Before, Check


def checks(before: Before) -> Iterator[Check]:
    """The lists of images, and enough of them; no image is opened, nothing is downloaded.

    An archive is unpacked, once: nothing else says what is in it.
    """
    settings = before.settings
    if settings.data.dataset is not None:
        yield partial(refuse_options, settings.data)
    yield partial(before.once, listed)
    yield partial(_enough, before)


def listed(settings: Settings) -> Source | None:
    """The source, if its lists are read without downloading anything, else None."""
    data = settings.data
    if data.dataset is None:
        return open_source(data)
    row = dataset(data.dataset)  # those of several domains are drawn, or folders of images
    return open_dataset(data) if row.domains and row.on_disk(root_of(data)) else None


def _enough(before: Before) -> None:
    source = before.once(listed)
    shots = before.settings.data.shots
    if source is not None and shots:
        held_out = source.facts is not None and source.facts.held_out
        tested = np.bincount(source.test.labels, minlength=len(source.names)) if held_out else ()
        require_shots(source.train, source.names, shots, source.empty, list(map(int, tested)))
