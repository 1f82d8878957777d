"""One engine at work: page-locked and device buffers, a context per batch size, CUDA graphs."""

from __future__ import annotations

import ctypes
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.errors import BackendError
from runtime.tensorrt.api import Context, reasons
from runtime.tensorrt.cuda import TO_DEVICE, TO_HOST, Cuda
from runtime.tensorrt.engine import Prepared

MAX_CONTEXTS = 4  # batch sizes; each context has scratch memory of its own


@dataclass(frozen=True)
class Binding:
    """An input or output, with its buffers for the largest batch."""

    name: str
    shape: tuple[int, ...]  # without the batch
    host: int
    device: int
    values: np.ndarray  # (max batch, *shape), a view of the page-locked memory


@dataclass(frozen=True)
class BatchContext:
    """One batch size: a context whose shapes and addresses are set, and its captured graph."""

    context: Context
    graph: int | None


class Execution:
    """Runs an engine. One call at a time: the caller holds a lock.

    Attributes:
        input: the only input.
        outputs: by name.
        batch: the engine's fixed batch; None if it is dynamic.
        max_batch: the largest batch of one call.
        states: a sentence per CUDA graph.
    """

    def __init__(self, prepared: Prepared, cuda_graph: bool = True) -> None:
        self._prepared = prepared
        self._cuda = prepared.cuda
        self._log = prepared.keep[-1]
        self._uses_graphs = cuda_graph
        self.states: list[str] = [] if cuda_graph else ["CUDA graph: not asked for"]
        self._ready: OrderedDict[int, BatchContext] = OrderedDict()
        engine = prepared.engine
        mode = prepared.trt.TensorIOMode
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == mode.INPUT]
        if len(inputs) != 1:
            raise BackendError("engine inputs", got=inputs, expected="one image tensor")
        leading = int(engine.get_tensor_shape(inputs[0])[0])
        self.batch = None if leading < 0 else leading
        self.max_batch = self.batch or int(engine.get_tensor_profile_shape(inputs[0], 0)[2][0])
        owned = _Owned(self._cuda)
        self._release = weakref.finalize(self, owned.release)
        # Not at exit: the driver may be gone by then, and the memory goes with the process.
        self._release.atexit = False
        self._owned = owned
        self._stream = owned.keep(self._cuda.stream(), self._cuda.destroy_stream)
        self.input = self._bind(inputs[0])
        self.outputs = {name: self._bind(name) for name in names if name not in inputs}

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """float32 outputs of up to ``max_batch`` images.

        Raises: BackendError: TensorRT or CUDA fails.
        """
        count = len(images)
        ready = self._upload(images)
        self._enqueue(ready)
        for name in outputs:
            self._copy(self.outputs[name], count, TO_HOST)
        self._cuda.synchronize(self._stream)
        return {name: self.outputs[name].values[:count].astype(np.float32) for name in outputs}

    def device_ms(self, images: np.ndarray, calls: int) -> list[float]:
        """Milliseconds of compute on the device of each of ``calls``, without copies."""
        ready = self._upload(images)
        start = self._cuda.event()
        end = self._cuda.event()
        durations = []
        try:
            for _ in range(calls):
                self._cuda.record(start, self._stream)
                self._enqueue(ready)
                self._cuda.record(end, self._stream)
                durations.append(self._cuda.elapsed_ms(start, end))
        finally:
            self._cuda.destroy_event(start)
            self._cuda.destroy_event(end)
        return durations

    def close(self) -> None:
        """Frees streams, graphs and memory."""
        self._drop(keep=0)
        self._release()

    def _bind(self, name: str) -> Binding:
        engine = self._prepared.engine
        kinds = self._prepared.trt.DataType
        types = {kinds.FLOAT: np.float32, kinds.HALF: np.float16, kinds.UINT8: np.uint8}
        kind = engine.get_tensor_dtype(name)
        what = f"engine tensor {name}"
        if kind not in types:
            remedy = "use the bundle's int8.trt, fp16 or fp32 model"
            expected = "float32, float16 or uint8"
            raise BackendError(what, got=kind, expected=expected, remedy=remedy)
        dtype = np.dtype(types[kind])
        shape = tuple(int(size) for size in engine.get_tensor_shape(name)[1:])
        if any(size < 0 for size in shape):
            raise BackendError(what, got=shape, expected="only the batch is dynamic")
        size = max(1, self.max_batch * int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        host = self._owned.keep(self._cuda.allocate_host(size), self._cuda.free_host)
        device = self._owned.keep(self._cuda.allocate(size), self._cuda.free)
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host))
        values = raw.view(dtype).reshape(self.max_batch, *shape)
        return Binding(name, shape, host, device, values)

    def _upload(self, images: np.ndarray) -> BatchContext:
        """Queues the copy of the images to the device; the context to run them in."""
        ready = self._context(len(images))
        self.input.values[: len(images)] = images
        self._copy(self.input, len(images), TO_DEVICE)
        return ready

    def _context(self, batch: int) -> BatchContext:
        if batch in self._ready:
            self._ready.move_to_end(batch)
            return self._ready[batch]
        self._drop(keep=MAX_CONTEXTS - 1)
        context = self._prepared.engine.create_execution_context()
        if context is None:
            what = "TensorRT cannot make an execution context"
            raise BackendError(what, got=reasons(self._log), remedy="free GPU memory")
        # Engines built with detailed verbosity (for the layer report) annotate every layer they
        # launch by default.
        context.nvtx_verbosity = self._prepared.trt.ProfilingVerbosity.NONE
        if self.batch is None:
            self._shape(context, batch)
        for binding in (self.input, *self.outputs.values()):
            if not context.set_tensor_address(binding.name, binding.device):
                what = f"TensorRT refuses the buffer of {binding.name}"
                raise BackendError(what, got=reasons(self._log))
        self._ready[batch] = BatchContext(context, self._capture(context, batch))
        return self._ready[batch]

    def _shape(self, context: Context, batch: int) -> None:
        # Only an engine's first context has the profile by default.
        if not context.set_optimization_profile_async(0, self._stream):
            got = reasons(self._log)
            raise BackendError("TensorRT refuses the optimization profile", got=got)
        if not context.set_input_shape(self.input.name, (batch, *self.input.shape)):
            expected = f"within the engine's profile, at most {self.max_batch}"
            raise BackendError("batch", got=batch, expected=expected)

    def _capture(self, context: Context, batch: int) -> int | None:
        """The graph of one inference; None, and a recorded state, if capturing fails."""
        self._execute(context)  # a shape's first run allocates, which a capture forbids
        self._cuda.synchronize(self._stream)
        if not self._uses_graphs:
            return None
        self._cuda.begin_capture(self._stream)
        try:
            self._execute(context)
            graph = self._cuda.end_capture(self._stream)
        except BackendError as error:
            self._cuda.abandon_capture(self._stream)
            why = f"each layer is launched by itself: {error}"
            self.states.append(f"CUDA graph: none for batch {batch}, {why}")
            return None
        self.states.append(f"CUDA graph: captured for batch {batch}")
        self._owned.graphs.add(graph)
        return graph

    def _enqueue(self, ready: BatchContext) -> None:
        if ready.graph is None:
            self._execute(ready.context)
        else:
            self._cuda.launch(ready.graph, self._stream)

    def _execute(self, context: Context) -> None:
        if not context.execute_async_v3(self._stream):
            raise BackendError("TensorRT cannot run the engine", got=reasons(self._log))

    def _copy(self, binding: Binding, batch: int, kind: int) -> None:
        ends = (binding.device, binding.host)
        target, source = ends if kind == TO_DEVICE else reversed(ends)
        self._cuda.copy(target, source, binding.values[:batch].nbytes, kind, self._stream)

    def _drop(self, keep: int) -> None:
        while len(self._ready) > keep:
            _, oldest = self._ready.popitem(last=False)
            if oldest.graph is not None:
                self._owned.graphs.remove(oldest.graph)
                self._cuda.destroy_graph(oldest.graph)


class _Owned:
    """Handles with the call that frees each; released once, graphs first, then in reverse order."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._handles = list[tuple[int, Callable[[int], None]]]()
        self.graphs: set[int] = set()

    def keep(self, handle: int, free: Callable[[int], None]) -> int:
        self._handles.append((handle, free))
        return handle

    def release(self) -> None:
        while self.graphs:
            self._cuda.destroy_graph(self.graphs.pop())
        while self._handles:
            handle, free = self._handles.pop()
            free(handle)
