"""How often a span may fail, and what a build says when it failed too often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from compress.engine.errors import SpanError
from compress.engine.executors.work import Note, SpanWork
from compress.engine.text import shortened

MOST = 3


@dataclass
class Attempts:
    """Counts the failures of every span, whoever made it."""

    work: SpanWork
    note: Note
    failures: Counter[range] = field(default_factory=Counter)

    def failed(self, span: range, what: str, trace: str = "") -> None:
        """Notes a failure; SpanError for the third of one span."""
        self.failures[span] += 1
        about = f"{self.work.name}, {self.work.about(span)}"
        if self.failures[span] < MOST:
            self.note(f"{about}: {what}; it is made again")
            return
        if trace:
            self.note(trace.rstrip())
        stage = self.work.ctx.folder.parent.name
        alone = f"--stage {stage} --only {span.start}"
        raise SpanError(
            f"{about}: failed {MOST} times",
            got=what,
            remedy=f"to see it alone: the same command with `shard {alone}` in place of `build`; "
            "the spans that are finished stay",
        )


def line_of(error: BaseException) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {shortened(error, 300)}"
