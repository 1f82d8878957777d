"""A stand-in for TensorRT 10 and 11, strict where the real ones are.

Engines compute with onnxruntime, so the numbers that come out of the buffers are real. The memory
and the streams are those of ``cuda_stand_in``.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import json
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from cuda_stand_in import FakeCuda
from tensorrt_layers import engine_information
from tensorrt_surface import SURFACE, VERSIONS, Published


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
