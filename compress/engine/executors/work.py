"""Work in spans: pieces that depend on nothing but their number, each ending in one file.

Image 4711 is the same whoever makes it, and when. So a stage cuts its rows into spans, any worker
makes any of them, twice if need be, and a span whose file is there is not made again. Each file
says in what environment it was made: those of one stage have to agree, see ``fleet.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compress.engine.stage import StageContext
from runtime.files.atomic import atomic
from runtime.files.strict_json import to_text

ENVIRONMENT = "environment"  # in the metadata of a span's file
Advance = Callable[[int, float], None]  # units done, seconds that they waited for data
Note = Callable[[str], None]


class SpanWork(Protocol):
    """What is done to a span. Picklable: a worker gets a copy, which it keeps with its models."""

    @property
    def name(self) -> str:
        """What is made, e.g. "generate"."""

    @property
    def unit(self) -> str:
        """What its progress counts, e.g. "image"."""

    @property
    def ctx(self) -> StageContext:
        """The stage whose files are made."""

    def spans(self) -> list[range]:
        """All spans of the stage, in order."""

    def for_worker(self) -> SpanWork:
        """A copy without what this process holds open."""

    def path(self, span: range) -> Path:
        """The file of a span, in ``ctx.partial``."""

    def units(self, span: range) -> int:
        """What a span counts in the progress, e.g. the views of its images."""

    def about(self, span: range) -> str:
        """What is in a span, for errors, e.g. "images 64..127 of class rose"."""

    def environment(self) -> dict[str, str]:
        """What can change the last bits here, see ``fleet.py``."""

    def load(self, span: range) -> Any:
        """What ``make`` needs and no model makes; called ahead, on a thread."""

    def make(self, span: range, loaded: Any, advance: Advance) -> None:
        """Writes the file of a span with ``write_span``, and reports its units."""


@dataclass(frozen=True)
class Made:
    """A span that is finished, and the SHA-256 of its file."""

    span: range
    sha256: str


class Executor(Protocol):
    """A way to make spans; a row of ``table.py``."""

    def map(
        self, work: SpanWork, spans: Sequence[range], advance: Advance, note: Note
    ) -> Iterator[Made]:
        """Makes the spans, in any order, and gives each when its file is there.

        Raises:
            SpanError: a span failed again and again.
            Clip2EdgeError: what the work refuses.
        """


def make_here(work: SpanWork, span: range, loaded: Any, advance: Advance) -> Made:
    """Makes a span in this process."""
    work.make(span, loaded, advance)
    with work.path(span).open("rb") as file:
        return Made(span, hashlib.file_digest(file, "sha256").hexdigest())


def write_span(
    work: SpanWork,
    span: range,
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the file of a span: one that exists is whole. Several may write it at once."""
    from safetensors.numpy import save_file

    # safetensors ignores strides: a transposed array would be read back as another image
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    made_in = to_text(work.environment(), sort_keys=True)
    with atomic(work.path(span)) as temporary:
        save_file(whole, temporary, metadata={**(metadata or {}), ENVIRONMENT: made_in})


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a span's file."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return dict(file.metadata() or {})


def environment_of(path: Path) -> str:
    """The environment that a span's file was made in, as JSON."""
    return metadata_of(path).get(ENVIRONMENT, "{}")
