"""Spans side by side in processes of this machine; one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import traceback
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from compress.engine.config import HostSettings
from compress.engine.executors.attempts import Attempts, line_of
from compress.engine.executors.work import Advance, Made, Note, SpanWork
from compress.engine.executors.worker import Refused, end_with, serve
from compress.engine.threads import jobs_of, threads_each


@dataclass(frozen=True)
class Processes:
    """``host.jobs`` processes, by default one for each core; they share the cores evenly."""

    host: HostSettings

    def map(
        self, work: SpanWork, spans: Sequence[range], advance: Advance, note: Note
    ) -> Iterator[Made]:
        """Makes the spans side by side; a span whose process died counts as failed."""
        attempts = Attempts(work, note)
        sent, ticket = work.for_worker(), uuid.uuid4().hex
        jobs = min(jobs_of(self.host), len(spans))
        threads = threads_each(self.host)
        waiting = deque(spans)
        idle = [Worker() for _ in range(jobs)]
        running: dict[Future[Made | Refused], tuple[range, Worker]] = {}
        try:
            while waiting or running:
                while waiting and idle:
                    span, worker = waiting.popleft(), idle.pop()
                    arguments = (sent, ticket, span.start, span.stop, threads)
                    running[worker.call(*arguments)] = span, worker
                for call in wait(running, return_when=FIRST_COMPLETED).done:
                    span, worker = running.pop(call)
                    idle.append(worker)
                    try:
                        made = call.result()
                    except Exception as error:
                        died = isinstance(error, BrokenProcessPool)
                        trace = "".join(traceback.format_exception(error))
                        what = "its process died" if died else line_of(error)
                        attempts.failed(span, what, "" if died else trace)
                        waiting.append(span)
                        continue
                    if isinstance(made, Refused):
                        raise made.error
                    advance(work.units(span), 0.0)
                    yield made
        finally:
            for worker in (*idle, *(one for _, one in running.values())):
                worker.end()


class Worker:
    """A process that serves one span at a time: a pool of one, so that its death is its own."""

    def __init__(self) -> None:
        self._start()

    def call(self, *arguments: object) -> Future[Made | Refused]:
        """Serves a span; starts anew if the process has died."""
        try:
            return self._pool.submit(serve, *arguments)  # type: ignore[arg-type]
        except BrokenProcessPool:
            self._start()
            return self._pool.submit(serve, *arguments)  # type: ignore[arg-type]

    def end(self) -> None:
        """Ends the process, whatever it does."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's threads
        self._pool = ProcessPoolExecutor(1, context, end_with, (os.getpid(),))
