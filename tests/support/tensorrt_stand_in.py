"""A stand-in for TensorRT 10 and 11 and for the CUDA runtime, strict where the real ones are.

No class here has a public member that the published bindings lack (tests/data/tensorrt_api.json;
``check_surface``), and
setting one raises: what is written against 10 and gone in 11 fails here as it would there. Engines
    compute with
onnxruntime, so the numbers that come out of the buffers are real. Device memory is host memory
behind checked addresses; work queued on a stream runs when the stream is synchronized, and while a
stream is captured it is only recorded.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from runtime.backends import tensorrt as tensorrt_backend
from runtime.errors import BackendError
from runtime.tensorrt import engine as engine_module
from runtime.tensorrt.cuda import TO_DEVICE, TO_HOST, CudaDevice

SURFACE = json.loads((Path(__file__).parents[1] / "data/tensorrt_api.json").read_text())["versions"]
VERSIONS = {10: "10.3.0", 11: "11.4.0.106"}
ORIN = CudaDevice("Orin", "8.7", 8, True, 8 * 2**30)


class Published:
    """Base of all stand-ins: refuses members that the real class of this version does not have."""

    _real = ""
    _version = ""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in SURFACE[self._version][self._real]:
            raise AttributeError(f"{self._real} of TensorRT {self._version} has no {name}")
        object.__setattr__(self, name, value)


def check_surface(cls: type, version: str) -> list[str]:
    """Public members of a stand-in that the published class does not have."""
    return sorted(
        {name for name in dir(cls) if not name.startswith("_")} - set(SURFACE[version][cls._real])
    )


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


def tensorrt(major: int, cuda: FakeCuda, **quirks: Any) -> Any:
    """A module ``tensorrt`` of a major version.

    Args:
        quirks: ``parse_error``, ``build_fails``, ``refuses_timing_cache``, ``uncapturable``,
            ``float_engine``, ``rejects_engines`` (a set of the SHA-256 of engines that are not
            accepted), ``rejects_all``, ``warning``.
    """
    version = VERSIONS[major]
    surface = SURFACE[version]
    builds: list[dict[str, Any]] = []
    engines: list[Any] = []

    def enumeration(name: str) -> Any:
        return enum.IntEnum(name, {member: index for index, member in enumerate(surface[name])})

    class ILogger(Published):
        _real, _version = "ILogger", version
        Severity = enum.IntEnum(
            "Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"]
        )

        def __init__(self) -> None:
            object.__setattr__(self, "messages", [])

        def __setattr__(self, name: str, value: Any) -> None:  # a subclass may have what it likes
            object.__setattr__(self, name, value)

    class HostMemory(Published):
        _real, _version = "IHostMemory", version

        def __init__(self, data: bytes) -> None:
            self._data = data

        def __bytes__(self) -> bytes:
            return self._data

        @property
        def nbytes(self) -> int:
            return len(self._data)

    class Tensor(Published):
        _real, _version = "ITensor", version

        def __init__(self, name: str, shape: list[int]) -> None:
            self.name, self.shape = name, shape

    class Network(Published):
        _real, _version = "INetworkDefinition", version

        def __init__(self) -> None:
            self._inputs: list[Tensor] = []
            self._model = b""

        @property
        def num_inputs(self) -> int:
            return len(self._inputs)

        def get_input(self, index: int) -> Tensor:
            return self._inputs[index]

    class ParserError(Published):
        _real, _version = "ParserError", version

        def desc(self) -> str:
            return quirks["parse_error"]

        def node_name(self) -> str:
            return "node_7"

        def node_operator(self) -> str:
            return "Resize"

    class Parser(Published):
        _real, _version = "OnnxParser", version

        def __init__(self, network: Network, logger: Any) -> None:
            self._network = network

        @property
        def num_errors(self) -> int:
            return 1 if "parse_error" in quirks else 0

        def get_error(self, index: int) -> ParserError:
            return ParserError()

        def parse(self, model: bytes) -> bool:
            if "parse_error" in quirks:
                return False
            self._network._model = model
            for value in onnx.load_from_string(model).graph.input:
                sizes = [
                    dim.dim_value if dim.HasField("dim_value") else -1
                    for dim in value.type.tensor_type.shape.dim
                ]
                self._network._inputs.append(Tensor(value.name, sizes))
            return True

    class Profile(Published):
        _real, _version = "IOptimizationProfile", version

        def __init__(self) -> None:
            self._shapes: dict[str, Any] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
                raise RuntimeError("Shape provided for min is inconsistent with other shapes.")
            self._shapes[input] = [list(min), list(opt), list(max)]

    class TimingCache(Published):
        _real, _version = "ITimingCache", version

        def __init__(self, data: bytes) -> None:
            self._data = data

        def serialize(self) -> HostMemory:
            return HostMemory(self._data or b"timings")

    class Config(Published):
        _real, _version = "IBuilderConfig", version

        def __init__(self) -> None:
            self.builder_optimization_level, self.profiling_verbosity = 3, None
            self._flags = {"TF32"}
            self._pools: dict[str, int] = {}
            self._profiles: list[Profile] = []
            self._cache: Any = lambda: None

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._pools[pool.name] = pool_size

        def add_optimization_profile(self, profile: Profile) -> int:
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
            return TimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
            if cache._data and quirks.get("refuses_timing_cache"):
                return False
            self._cache = weakref.ref(cache)  # the real one does not keep it alive either
            return True

    class Builder(Published):
        _real, _version = "Builder", version

        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int = 0) -> Network:
            asked = bool(flags & (1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)))
            assert asked or major >= 11, "a weakly typed network"
            return Network()

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> HostMemory | None:
            if "warning" in quirks:
                self._logger.log(ILogger.Severity.WARNING, quirks["warning"])
            if quirks.get("build_fails"):
                self._logger.log(ILogger.Severity.ERROR, "out of memory")
                return None
            shapes = {
                name: value
                for profile in config._profiles
                for name, value in profile._shapes.items()
            }
            dynamic = [tensor for tensor in network._inputs if -1 in tensor.shape]
            assert all(tensor.name in shapes for tensor in dynamic), (
                "a dynamic input without a profile"
            )
            timings = config._cache()
            assert timings is not None, "the timing cache was destroyed before the engine was built"
            facts = {
                "shapes": shapes,
                "flags": sorted(config._flags),
                "pools": config._pools,
                "level": config.builder_optimization_level,
                "verbosity": getattr(config.profiling_verbosity, "name", None),
                "timing_cache": bool(timings._data),
            }
            builds.append(facts)
            return HostMemory(json.dumps({**facts, "model": network._model.hex()}).encode())

    class Inspector(Published):
        _real, _version = "EngineInspector", version

        def __init__(self, model: bytes) -> None:
            self._model = model

        def get_engine_information(self, format: Any) -> str:
            assert format == module.LayerInformationFormat.JSON
            return engine_information(self._model, major, bool(quirks.get("float_engine")))

    class Context(Published):
        _real, _version = "IExecutionContext", version

        def __init__(self, engine: Engine) -> None:
            self._engine, self._addresses, self._warm = engine, dict[str, int](), False
            self._profile = (
                0 if not engine._contexts else None
            )  # only the first context has it by itself
            self.nvtx_verbosity = module.ProfilingVerbosity.DETAILED
            leading = engine._inputs[0].shape[0]
            self._batch = leading if isinstance(leading, int) else 0

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            assert stream_handle in cuda.queues and not cuda.recording
            self._profile = profile_index
            return profile_index < len(self._engine._facts["shapes"])

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            if self._profile is None:
                return False
            low, _, high = self._engine._facts["shapes"][name]
            self._batch, self._warm = shape[0], False
            return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return memory in cuda.memory and memory not in cuda.host

        def execute_async_v3(self, stream_handle: int) -> bool:
            if stream_handle not in cuda.queues or self._batch < 1:
                return False
            if cuda.recording and (quirks.get("uncapturable") or not self._warm):
                return False
            assert set(self._addresses) == {tensor.name for tensor in self._engine._tensors}, (
                "a tensor without address"
            )
            self._warm = True
            cuda.queue(stream_handle, self._compute)
            return True

        def _compute(self) -> None:
            session, batch = self._engine._session, self._batch
            image = session.get_inputs()[0]
            data = self._at(image.name, (batch, *image.shape[1:]), np.float32)
            names = [output.name for output in session.get_outputs()]
            for name, value in zip(
                names, session.run(names, {image.name: data.copy()}), strict=True
            ):
                self._at(name, value.shape, value.dtype)[...] = value
            cuda.clock += 0.25 * batch

        def _at(self, name: str, shape: Any, dtype: Any) -> np.ndarray:
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            address = self._addresses[name]
            assert size <= len(cuda.memory[address]), "a buffer that is too small"
            return (
                np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
                .view(dtype)
                .reshape(shape)
            )

    class Engine(Published):
        _real, _version = "ICudaEngine", version

        def __init__(self, facts: dict[str, Any]) -> None:
            self._facts, self._model = facts, bytes.fromhex(facts["model"])
            self._session = ort.InferenceSession(self._model, providers=["CPUExecutionProvider"])
            self._inputs, self._outputs = self._session.get_inputs(), self._session.get_outputs()
            self._contexts: list[Context] = []
            engines.append(self)

        @property
        def _tensors(self) -> list[Any]:
            return [*self._inputs, *self._outputs]

        @property
        def num_io_tensors(self) -> int:
            return len(self._tensors)

        @property
        def num_layers(self) -> int:
            return 1

        def get_tensor_name(self, index: int) -> str:
            return self._tensors[index].name

        def get_tensor_mode(self, name: str) -> Any:
            is_input = name in {tensor.name for tensor in self._inputs}
            return module.TensorIOMode.INPUT if is_input else module.TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name: str) -> Any:
            return module.DataType.FLOAT

        def get_tensor_shape(self, name: str) -> list[int]:
            shape = next(tensor.shape for tensor in self._tensors if tensor.name == name)
            return [size if isinstance(size, int) else -1 for size in shape]

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
            assert profile_index == 0
            return self._facts["shapes"][name]

        def create_execution_context(self) -> Context:
            self._contexts.append(Context(self))
            return self._contexts[-1]

        def create_engine_inspector(self) -> Inspector:
            return Inspector(self._model)

    class Runtime(Published):
        _real, _version = "Runtime", version

        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
            rejected = hashlib.sha256(serialized_engine).hexdigest() in quirks.get(
                "rejects_engines", ()
            )
            if rejected or quirks.get("rejects_all"):
                self._logger.log(ILogger.Severity.ERROR, "engine was built by another TensorRT")
                return None
            return Engine(json.loads(serialized_engine))

    classes = (
        Network,
        ParserError,
        Parser,
        Profile,
        TimingCache,
        Config,
        Builder,
        Inspector,
        Context,
        Engine,
        Runtime,
    )
    enums = (
        "BuilderFlag",
        "DataType",
        "LayerInformationFormat",
        "MemoryPoolType",
        "NetworkDefinitionCreationFlag",
        "ProfilingVerbosity",
        "TensorIOMode",
    )
    module = SimpleNamespace(
        __version__=version,
        ILogger=ILogger,
        Builder=Builder,
        OnnxParser=Parser,
        Runtime=Runtime,
        **{name: enumeration(name) for name in enums},
        _builds=builds,
        _engines=engines,
        _classes=(*classes, HostMemory, Tensor),
    )
    return module


class Machine:
    """A machine with a GPU and TensorRT, both stand-ins."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, major: int = 10, **quirks: Any
    ) -> None:
        self.cuda = FakeCuda()
        self.trt = tensorrt(major, self.cuda, **quirks)
        self.cache = folder / "cache"
        self.patch = monkeypatch
        self.use(self.trt, self.cuda)

    def use(self, trt: Any, cuda: FakeCuda) -> None:
        self.trt, self.cuda = trt, cuda
        self.patch.setattr(engine_module, "import_tensorrt", lambda: trt)
        self.patch.setattr(engine_module, "open_cuda", lambda: cuda)

    def load(self, model: Path, **options: Any) -> tensorrt_backend.TrtRunner:
        return tensorrt_backend.load(model, cache=self.cache, **options)


def engine_information(model: bytes, major: int, float_engine: bool = False) -> str:
    """Layer information in the form of a version, one layer for each Conv and Gemm of an ONNX
    model.
    """
    graph = onnx.load_from_string(model).graph
    quantized = not float_engine and any(node.op_type == "QuantizeLinear" for node in graph.node)
    layers = [
        reformat_layer(major),
        *(
            compute_layer(node.name, major, quantized)
            for node in graph.node
            if node.op_type in ("Conv", "Gemm")
        ),
    ]
    names = [value.name for value in (*graph.input, *graph.output)]
    sides = (
        {"Bindings": names} if major == 10 else {"I/O Tensors": [{"Name": name} for name in names]}
    )
    return json.dumps({"Layers": layers, **sides})


def compute_layer(name: str, major: int, quantized: bool) -> dict[str, Any]:
    """One convolution as the inspector shows it."""
    kind = "Int8" if quantized else "Float"
    words = (
        "Thirty-two wide channel vectorized row major Int8 format"
        if quantized
        else "Row major linear FP32 format"
    )
    tensor = {"Name": f"{name}_x", "Dimensions": [1, 16, 8, 8], "Location": "Device"}
    typed = (
        {**tensor, "Format/Datatype": words}
        if major == 10
        else {**tensor, "Format": words, "Datatype": kind}
    )
    return {
        "Name": f"{name} + relu",
        "LayerType": "CaskConvolution",
        "Inputs": [typed],
        "Outputs": [typed],
        "ParameterType": "Convolution",
        "Weights": {"Type": kind, "Count": 432},
        "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32"
        if quantized
        else "sm80_f32f32_tf32",
        "Metadata": f"[ONNX Layer: {name}]",
    }


def reformat_layer(major: int) -> dict[str, Any]:
    """A copy between formats as the inspector shows it."""
    typed = (
        {"Format/Datatype": "Row major linear FP32"}
        if major == 10
        else {"Format": "Row major", "Datatype": "Float"}
    )
    return {
        "Name": "Reformatting CopyNode for Input Tensor 0",
        "LayerType": "Reformat",
        "Inputs": [{"Name": "images", **typed}],
        "Outputs": [],
        "ParameterType": "Reformat",
        "Origin": "REFORMAT",
        "TacticName": "",
    }
