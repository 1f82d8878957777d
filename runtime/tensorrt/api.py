"""The calls of TensorRT's Python API in use, as protocols, and the import with its one message.

Sources: the published bindings' own member lists, 10.3.0 and 11.4.0 (tests/data/tensorrt_api.json);
NVIDIA's migration guide from 10.x to 11.x. TensorRT 11 has no FP16 or INT8 flags, no calibrators
and no weak typing: a network is strongly typed without a flag. On 10.x a flag gives the same, so
one ONNX file means the same on both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from runtime.errors import BackendError


class HostMemory(Protocol):
    """A buffer that TensorRT owns; ``bytes(memory)`` copies it."""

    nbytes: int

    def __buffer__(self, flags: int, /) -> memoryview: ...


class Tensor(Protocol):
    """An input or output of a network definition."""

    name: str
    shape: Sequence[int]  # -1 where dynamic


class Network(Protocol):
    """A network definition, filled by the parser."""

    num_inputs: int

    def get_input(self, index: int) -> Tensor: ...


class ParserError(Protocol):
    """One error of the ONNX parser."""

    def desc(self) -> str: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class Parser(Protocol):
    """The ONNX parser."""

    num_errors: int

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class Profile(Protocol):
    """An optimization profile: the shapes an engine is built for."""

    def set_shape(
        self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]
    ) -> None: ...


class TimingCache(Protocol):
    """Measured tactics, for later builds on the same machine."""

    def serialize(self) -> HostMemory: ...


class Config(Protocol):
    """Builder options of both versions: no precision flags, which exist in 10 only."""

    builder_optimization_level: int
    profiling_verbosity: Any

    def clear_flag(self, flag: Any) -> None: ...
    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def add_optimization_profile(self, profile: Profile) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache | None: ...
    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool: ...


class Builder(Protocol):
    """Makes networks, configurations and engines."""

    def create_network(self, flags: int = 0) -> Network: ...
    def create_builder_config(self) -> Config: ...
    def create_optimization_profile(self) -> Profile: ...
    def build_serialized_network(self, network: Network, config: Config) -> HostMemory | None: ...


class Inspector(Protocol):
    """Reports an engine's layers."""

    def get_engine_information(self, format: Any) -> str: ...


class Context(Protocol):
    """One execution state of an engine, for one thread at a time."""

    nvtx_verbosity: Any

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class Engine(Protocol):
    """A deserialized engine."""

    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> Any: ...
    def get_tensor_dtype(self, name: str) -> Any: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def get_tensor_profile_shape(
        self, name: str, profile_index: int
    ) -> Sequence[Sequence[int]]: ...
    def create_execution_context(self) -> Context | None: ...
    def create_engine_inspector(self) -> Inspector: ...


class Runtime(Protocol):
    """Deserializes engines."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None: ...


class TensorRT(Protocol):
    """The module ``tensorrt``."""

    __version__: str
    ILogger: Any
    BuilderFlag: Any
    DataType: Any
    LayerInformationFormat: Any
    MemoryPoolType: Any
    NetworkDefinitionCreationFlag: Any
    ProfilingVerbosity: Any
    TensorIOMode: Any

    def Builder(self, logger: Any) -> Builder: ...
    def OnnxParser(self, network: Network, logger: Any) -> Parser: ...
    def Runtime(self, logger: Any) -> Runtime: ...


MAX_REASONS = 3  # messages that an error quotes


@dataclass(frozen=True)
class Generation:
    """A major version.

    Attributes:
        strongly_typed: the flags of create_network that ask for strong typing.
        trtexec: its flags for strong typing, CUDA graphs and no copies, the defaults of 11.
    """

    strongly_typed: Callable[[TensorRT], int]
    trtexec: tuple[str, ...]


GENERATIONS = {
    10: Generation(
        lambda trt: 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
        ("--stronglyTyped", "--useCudaGraph", "--noDataTransfers"),
    ),
    11: Generation(lambda trt: 0, ()),  # always strongly typed; the flag is deprecated and ignored
}


def import_tensorrt() -> TensorRT:
    """The module, of a supported version.

    Raises:
        BackendError: absent, its libraries are absent, or another major version; with the remedy
            for this platform.
    """
    try:
        module: Any = import_module("tensorrt")
    # ImportError, OSError of a missing libnvinfer, or whatever a damaged install raises
    except Exception as error:
        what = "TensorRT is not usable here"
        expected = "TensorRT 10 or 11 and its Python bindings"
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}"
        raise BackendError(what, got=got, expected=expected, remedy=install_hint()) from error
    generation(module)
    return module


def generation(trt: TensorRT) -> Generation:
    """The row of ``GENERATIONS`` for a module.

    Raises:
        BackendError: another major version.
    """
    version = str(getattr(trt, "__version__", "unknown"))
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) not in GENERATIONS:
        upgrade = "pip install --upgrade clip2edge"
        if major in ("7", "8"):
            upgrade = "JetPack 5 and 6.0 carry TensorRT 8: upgrade to JetPack 6.1 or later"
        what = "this version of TensorRT is not supported"
        remedy = "or use backend 'onnxruntime'"
        raise BackendError(
            what, got=version, expected="10.x or 11.x", remedy=f"{upgrade}, {remedy}"
        )
    return GENERATIONS[int(major)]


def install_hint(root: Path = Path("/")) -> str:
    """What to install on this platform."""
    if (root / "etc/nv_tegra_release").exists():
        return (
            "on Jetson: sudo apt install tensorrt python3-libnvinfer, then a virtual environment "
            "that sees it: python3 -m venv --system-site-packages .venv"
        )
    if (root / "proc/driver/nvidia/version").exists():
        return "pip install 'clip2edge[trt]' (CUDA 12 drivers: pip install tensorrt-cu12)"
    return "this machine shows no NVIDIA GPU: use backend 'onnxruntime', or run this on the device"


def logger(trt: TensorRT) -> Any:
    """A logger that collects warnings and errors in its list ``messages`` and prints nothing."""
    severity = trt.ILogger.Severity
    collected = {severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR}

    class Collector(trt.ILogger):  # type: ignore[name-defined,misc]  # of the imported module
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, level: Any, message: str) -> None:
            if level in collected:
                self.messages.append(message)

    return Collector()


def reasons(log: Any) -> str:
    """TensorRT's last warnings and errors, as one text."""
    return "; ".join(dict.fromkeys(log.messages[-MAX_REASONS:])) or "no reason was given"
