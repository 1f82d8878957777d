"""A stand-in for the CUDA runtime: device memory is host memory behind checked addresses.

Work queued on a stream runs when the stream is synchronized; while a stream is captured, work is
only recorded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from runtime.errors import BackendError
from runtime.tensorrt.cuda import TO_DEVICE, TO_HOST, CudaDevice

ORIN = CudaDevice("Orin", "8.7", 8, True, 8 * 2**30)


class FakeCuda:
    """``runtime.tensorrt.cuda.Cuda`` on host memory."""

    def __init__(self, gpu: CudaDevice = ORIN, capturable: bool = True) -> None:
        self.device, self.capturable = gpu, capturable
        self.memory: dict[int, Any] = {}
        self.host: set[int] = set()
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.recording: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, float | None] = {}
        self.launches, self.clock, self._next = 0, 0.0, 1

    def runtime_version(self) -> str:
        return "12.6"

    def gpu(self) -> CudaDevice:
        return self.device

    def allocate(self, size: int) -> int:
        self._not_while_recording("cudaMalloc")
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def allocate_host(self, size: int) -> int:
        address = self.allocate(size)
        self.host.add(address)
        return address

    def free(self, address: int) -> None:
        del self.memory[address]

    def free_host(self, address: int) -> None:
        self.host.remove(address)
        self.free(address)

    def stream(self) -> int:
        self.queues[handle := self._handle()] = []
        return handle

    def destroy_stream(self, stream: int) -> None:
        del self.queues[stream]

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        on_host = {TO_DEVICE: (False, True), TO_HOST: (True, False)}[kind]
        assert (target in self.host, source in self.host) == on_host, "copy in the wrong direction"
        assert size <= len(self.memory[target]) and size <= len(self.memory[source]), (
            "copy beyond the buffer"
        )
        self.queue(stream, lambda: ctypes.memmove(target, source, size) and None)

    def synchronize(self, stream: int) -> None:
        self._not_while_recording("cudaStreamSynchronize")
        queue = self.queues[stream]
        while queue:
            queue.pop(0)()

    def begin_capture(self, stream: int) -> None:
        assert not self.queues[stream], "captured before the first run was finished"
        self.recording[stream] = []

    def end_capture(self, stream: int) -> int:
        work = self.recording.pop(stream)
        self.graphs[handle := self._handle()] = work
        return handle

    def abandon_capture(self, stream: int) -> None:
        self.recording.pop(stream, None)

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        for work in self.graphs[graph]:
            self.queue(stream, work)

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]

    def event(self) -> int:
        self.events[handle := self._handle()] = None
        return handle

    def destroy_event(self, event: int) -> None:
        del self.events[event]

    def record(self, event: int, stream: int) -> None:
        def mark() -> None:
            self.events[event] = self.clock

        self.queue(stream, mark)

    def elapsed_ms(self, start: int, end: int) -> float:
        for stream in self.queues:
            self.synchronize(stream)
        before, after = self.events[start], self.events[end]
        assert before is not None and after is not None, "an event that was not recorded"
        return after - before

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        (self.recording[stream] if stream in self.recording else self.queues[stream]).append(work)

    def _not_while_recording(self, call: str) -> None:
        if self.recording:
            raise BackendError(
                f"{call} failed", got="operation not permitted when stream is capturing"
            )

    def _handle(self) -> int:
        self._next += 1
        return self._next
