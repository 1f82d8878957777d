"""Spans one after the other, here, each one's data read while the one before it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from compress.engine.config import HostSettings
from compress.engine.executors.work import Advance, Made, Note, SpanWork, make_here


@dataclass(frozen=True)
class Local:
    """The default: no process besides this one."""

    host: HostSettings

    def map(
        self, work: SpanWork, spans: Sequence[range], advance: Advance, note: Note
    ) -> Iterator[Made]:
        """Makes the spans in order; what fails is raised as it is."""
        with ThreadPoolExecutor(1) as thread:
            ahead: Future[Any] | None = None
            for span, following in zip(spans, [*spans[1:], None], strict=True):
                started = time.perf_counter()
                loaded = (ahead or thread.submit(work.load, span)).result()
                advance(0, time.perf_counter() - started)
                ahead = None if following is None else thread.submit(work.load, following)
                yield make_here(work, span, loaded, advance)
