"""What a worker process does: one span after the other, with the models of the first."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

from compress.engine.errors import ExplainedError
from compress.engine.executors.work import Made, SpanWork, make_here
from compress.engine.hush import hush_libraries

_resident: dict[str, SpanWork] = {}  # the work whose models are loaded, by its ticket
PARENT_S = 1.0  # between two looks at whether the parent still lives


@dataclass(frozen=True)
class Refused:
    """What the work refuses: another attempt would end the same way."""

    error: ExplainedError


def serve(work: SpanWork, ticket: str, start: int, stop: int, threads: int) -> Made | Refused:
    """Makes a span.

    Args:
        ticket: the same for all spans of a stage: their models are loaded once.
        threads: torch's.
    """
    import torch

    if ticket not in _resident:
        hush_libraries()
        torch.set_num_threads(threads)
        _resident.clear()  # frees the models of the stage before
        _resident[ticket] = work
    mine = _resident[ticket]
    span = range(start, stop)
    try:
        return make_here(mine, span, mine.load(span), lambda units, wait_s: None)
    except ExplainedError as error:
        return Refused(error)


def end_with(parent: int) -> None:
    """Ends this process when its parent has ended, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
