"""The CUDA runtime through ctypes, in the few calls that inference needs.

ctypes on libcudart, not cuda-python, PyCUDA or torch: libcudart comes with every JetPack and every
CUDA install, while wheels of the Python packages do not exist for all of JetPack's Python versions.
The entry points here kept their C signatures from CUDA 11.4 to 13 (cudaGraphInstantiate did not;
``cudaGraphInstantiateWithFlags`` is stable). An older runtime works with every newer driver, so the
oldest is taken.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime.errors import BackendError

# cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost
TO_DEVICE = 1
TO_HOST = 2
NON_BLOCKING = 1  # cudaStreamNonBlocking: not ordered with the legacy default stream
# cudaStreamCaptureModeThreadLocal: another thread's cudaMalloc does not break a capture.
THREAD_LOCAL = 1
# cudaDeviceAttr
MULTIPROCESSORS = 16
INTEGRATED = 18
MAJOR = 75
MINOR = 76
JETPACK = "sudo apt install nvidia-jetpack"
# cudaDeviceProp is about 1 KiB, and begins with char name[256] in every version.
PROPERTIES_BYTES = 16 * 1024

_TO_INT = POINTER(c_int)
_TO_HANDLE = POINTER(c_void_p)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("cudaRuntimeGetVersion", "cudaGetDeviceCount", "cudaGetDevice"), (_TO_INT,)),
    "cudaGetDeviceProperties": (c_void_p, c_int),
    "cudaDeviceGetAttribute": (_TO_INT, c_int, c_int),
    "cudaMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    **dict.fromkeys(("cudaMalloc", "cudaMallocHost"), (_TO_HANDLE, c_size_t)),
    **dict.fromkeys(("cudaFree", "cudaFreeHost"), (c_void_p,)),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (_TO_HANDLE, c_uint),
    **dict.fromkeys(("cudaStreamDestroy", "cudaStreamSynchronize"), (c_void_p,)),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, _TO_HANDLE),
    "cudaGraphInstantiateWithFlags": (_TO_HANDLE, c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    **dict.fromkeys(("cudaGraphDestroy", "cudaGraphExecDestroy"), (c_void_p,)),
    "cudaEventCreate": (_TO_HANDLE,),
    **dict.fromkeys(("cudaEventDestroy", "cudaEventSynchronize"), (c_void_p,)),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaGetLastError": (),
}


@dataclass(frozen=True)
class CudaDevice:
    """A GPU as CUDA reports it."""

    name: str  # one name for all Jetson Orin modules
    compute_capability: str
    multiprocessors: int  # differs between Jetson Orin modules
    integrated: bool
    memory_bytes: int

    def identity(self) -> dict[str, object]:
        """What an engine depends on: not the memory, which on a Jetson varies from boot to boot."""
        return {name: value for name, value in asdict(self).items() if name != "memory_bytes"}


class Cuda:
    """The CUDA runtime of this process. Addresses and handles are plain integers.

    Raises:
        BackendError: from every method, with the name of the call and CUDA's message.
    """

    def __init__(self, library: str | Path) -> None:
        self.library = str(library)
        try:
            self._cdll = ctypes.CDLL(self.library)
            for name, arguments in _SIGNATURES.items():
                function = getattr(self._cdll, name)
                function.argtypes = list(arguments)
                function.restype = c_int
            self._cdll.cudaGetErrorString.argtypes = [c_int]
            self._cdll.cudaGetErrorString.restype = c_char_p
        except (OSError, AttributeError) as error:
            what = "the CUDA runtime cannot be loaded"
            remedy = f"on Jetson: {JETPACK}; elsewhere: pip install nvidia-cuda-runtime-cu12"
            expected = "libcudart of CUDA 11.4 or newer"
            raise BackendError(what, got=error, expected=expected, remedy=remedy) from error

    def runtime_version(self) -> str:
        """For example "12.6"."""
        number = self._int("cudaRuntimeGetVersion")
        return f"{number // 1000}.{number % 1000 // 10}"

    def gpu(self) -> CudaDevice:
        """The current device; raises BackendError without a driver or a device."""
        try:
            count = self._int("cudaGetDeviceCount")
            why = "0 devices"
        except BackendError as error:  # no driver, or one older than the runtime
            count = 0
            why = str(error.got)
        if not count:
            remedy = (
                f"install or update its driver (Jetson: {JETPACK}), or use backend 'onnxruntime'"
            )
            raise BackendError("no NVIDIA GPU is usable here", got=why, remedy=remedy)
        device = self._int("cudaGetDevice")
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", properties, device)
        free = c_size_t()
        total = c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))

        def attribute(key: int) -> int:
            return self._int("cudaDeviceGetAttribute", key, device)

        return CudaDevice(
            name=properties.raw[:256].split(b"\0")[0].decode(errors="replace"),
            compute_capability=f"{attribute(MAJOR)}.{attribute(MINOR)}",
            multiprocessors=attribute(MULTIPROCESSORS),
            integrated=bool(attribute(INTEGRATED)),
            memory_bytes=total.value,
        )

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes on the device."""
        return self._handle("cudaMalloc", size)

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_host(self, size: int) -> int:
        """Address of ``size`` bytes of page-locked memory, which copies need not stage."""
        return self._handle("cudaMallocHost", size)

    def free_host(self, address: int) -> None:
        self._call("cudaFreeHost", address)

    def stream(self) -> int:
        return self._handle("cudaStreamCreateWithFlags", NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Queues a copy of ``size`` bytes; ``kind`` is ``TO_DEVICE`` or ``TO_HOST``."""
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def synchronize(self, stream: int) -> None:
        """Waits until all queued work is done; an earlier failure shows here."""
        self._call("cudaStreamSynchronize", stream)

    def begin_capture(self, stream: int) -> None:
        """From here on, work queued on ``stream`` is recorded instead of run."""
        self._call("cudaStreamBeginCapture", stream, THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """The recorded work as an executable graph."""
        graph = c_void_p()
        self._call("cudaStreamEndCapture", stream, ctypes.byref(graph))
        try:
            return self._handle("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def abandon_capture(self, stream: int) -> None:
        """Ends a failed capture and clears its error."""
        graph = c_void_p()
        self._cdll.cudaStreamEndCapture(stream, ctypes.byref(graph))
        if graph.value:
            self._cdll.cudaGraphDestroy(graph)
        self._cdll.cudaGetLastError()

    def launch(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def event(self) -> int:
        return self._handle("cudaEventCreate")

    def destroy_event(self, event: int) -> None:
        self._call("cudaEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        """Marks the point that ``stream`` has reached."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds on the device between two recorded events; waits for the second."""
        self._call("cudaEventSynchronize", end)
        passed = c_float()
        self._call("cudaEventElapsedTime", ctypes.byref(passed), start, end)
        return float(passed.value)

    def _int(self, name: str, *arguments: int) -> int:
        """The integer that a call writes into its first argument."""
        value = c_int()
        self._call(name, ctypes.byref(value), *arguments)
        return value.value

    def _handle(self, name: str, *arguments: Any) -> int:
        """The pointer that a call writes into its first argument."""
        handle = c_void_p()
        self._call(name, ctypes.byref(handle), *arguments)
        return handle.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._cdll, name)(*arguments)
        if code:
            text = self._cdll.cudaGetErrorString(code) or b"unknown error"
            self._cdll.cudaGetLastError()
            got = f"{text.decode(errors='replace')} (CUDA error {code})"
            raise BackendError(f"{name} failed", got=got)


def open_cuda(root: Path = Path("/")) -> Cuda:
    """The CUDA runtime of this machine; raises BackendError if none can be loaded."""
    failures = []
    for library in candidates(root):
        try:
            return Cuda(library)
        except BackendError as error:
            failures.append(error)
    raise failures[0]  # there is always a candidate


def candidates(root: Path = Path("/")) -> list[str]:
    """Names and paths of libcudart in order: the loader's path, CUDA's own folders, pip's."""
    names = [f"libcudart.so.{major}" for major in (12, 13)] + ["libcudart.so"]
    folders = [*sorted((root / "usr/local").glob("cuda*/lib64")), *_pip_folders()]
    files = (folder / name for folder in folders for name in names)
    return [*names, *(str(file) for file in files if file.exists())]


def _pip_folders() -> list[Path]:
    spec = find_spec("nvidia")
    roots = (spec.submodule_search_locations or []) if spec else []
    return [folder for root in roots for folder in sorted(Path(root).glob("cu*/lib"))]
