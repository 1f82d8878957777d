"""The ctypes signatures of the CUDA runtime, against a C library with the same entry points."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime import BackendError
from runtime.tensorrt import cuda as module
from runtime.tensorrt.cuda import TO_DEVICE, TO_HOST, Cuda, candidates, open_cuda

# The prototypes are those of the CUDA runtime's C header; the bodies only show that the arguments
# arrive whole.
SOURCE = r"""
#include <stdlib.h>
#include <string.h>
typedef void *H;
int cudaRuntimeGetVersion(int *v) { *v = 12060; return 0; }
int cudaGetDeviceCount(int *n) { *n = DEVICES; return DEVICES ? 0 : 100; }
int cudaGetDevice(int *d) { *d = 0; return 0; }
int cudaGetDeviceProperties(void *p, int d) { strcpy((char *)p, "Orin"); return d; }
int cudaDeviceGetAttribute(int *v, int key, int d) {
  *v = key == 75 ? 8 : key == 76 ? 7 : key == 16 ? 16 : key == 18 ? 1 : -1; return d; }
int cudaMemGetInfo(size_t *f, size_t *t) { *f = 1; *t = (size_t)64 << 30; return 0; }
int cudaMalloc(void **p, size_t n) {
  if (n > ((size_t)1 << 33)) return 2; *p = malloc(n); return 0; }
int cudaFree(void *p) { free(p); return 0; }
int cudaMallocHost(void **p, size_t n) { *p = malloc(n); return 0; }
int cudaFreeHost(void *p) { free(p); return 0; }
int cudaMemcpyAsync(void *t, const void *s, size_t n, int kind, H stream) {
  if (!stream || (kind != 1 && kind != 2)) return 1; memcpy(t, s, n); return 0; }
int cudaStreamCreateWithFlags(H *s, unsigned f) { *s = (H)(size_t)(0x7f0000000000u + f); return 0; }
int cudaStreamDestroy(H s) { return s == (H)(size_t)0x7f0000000001u ? 0 : 400; }
int cudaStreamSynchronize(H s) { return s ? 0 : 400; }
int cudaStreamBeginCapture(H s, int mode) { return s && mode == 1 ? 0 : 1; }
int cudaStreamEndCapture(H s, H *g) { *g = (H)(size_t)0x7e0000000000u; return s ? 0 : 1; }
int cudaGraphInstantiateWithFlags(H *x, H g, unsigned long long f) {
  *x = (H)((size_t)g + 8 + f); return 0; }
int cudaGraphLaunch(H x, H s) { return x == (H)(size_t)0x7e0000000008u && s ? 0 : 1; }
int cudaGraphDestroy(H g) { return g ? 0 : 1; }
int cudaGraphExecDestroy(H x) { return x ? 0 : 1; }
int cudaEventCreate(H *e) { *e = (H)(size_t)0x7d0000000000u; return 0; }
int cudaEventDestroy(H e) { return e ? 0 : 1; }
int cudaEventRecord(H e, H s) { return e && s ? 0 : 1; }
int cudaEventSynchronize(H e) { return e ? 0 : 1; }
int cudaEventElapsedTime(float *ms, H a, H b) { *ms = 1.25f; return a && b ? 0 : 1; }
int cudaGetLastError(void) { return 0; }
const char *cudaGetErrorString(int code) {
  return code == 2 ? "out of memory"
       : code == 100 ? "no CUDA-capable device is detected" : "invalid"; }
"""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")


def compiled(folder: Path, devices: int, source: str = SOURCE) -> Path:
    (folder / "cudart.c").write_text(source)
    target = folder / f"libcudart{devices}.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f"-DDEVICES={devices}", "-o", target, folder / "cudart.c"],
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Cuda:
    return Cuda(compiled(tmp_path_factory.mktemp("cuda"), 1))


def test_facts_of_the_device(cuda: Cuda) -> None:
    gpu = cuda.gpu()
    assert (gpu.name, gpu.compute_capability, gpu.multiprocessors, gpu.integrated) == (
        "Orin",
        "8.7",
        16,
        True,
    )
    assert gpu.memory_bytes == 64 * 2**30
    assert cuda.runtime_version() == "12.6"


def test_copies_go_there_and_back(cuda: Cuda) -> None:
    stream = cuda.stream()
    assert stream > 2**32  # a handle is a pointer: 64 bits must survive
    host, device, back = cuda.allocate_host(16), cuda.allocate(16), cuda.allocate_host(16)
    ctypes.memmove(host, b"sixteen bytes ok", 16)
    cuda.copy(device, host, 16, TO_DEVICE, stream)
    cuda.copy(back, device, 16, TO_HOST, stream)
    cuda.synchronize(stream)
    assert ctypes.string_at(back, 16) == b"sixteen bytes ok"
    cuda.free(device)
    cuda.free_host(host)
    cuda.free_host(back)
    cuda.destroy_stream(stream)


def test_graphs_and_events(cuda: Cuda) -> None:
    stream = cuda.stream()
    cuda.begin_capture(stream)
    graph = cuda.end_capture(stream)
    cuda.launch(graph, stream)
    cuda.destroy_graph(graph)
    cuda.begin_capture(stream)
    cuda.abandon_capture(stream)
    start, end = cuda.event(), cuda.event()
    cuda.record(start, stream)
    cuda.record(end, stream)
    assert cuda.elapsed_ms(start, end) == 1.25
    cuda.destroy_event(start)


def test_a_failure_names_the_call_and_cudas_words(cuda: Cuda) -> None:
    with pytest.raises(
        BackendError, match=r"cudaMalloc failed · got out of memory \(CUDA error 2\)"
    ):
        cuda.allocate(2**34)
    with pytest.raises(BackendError, match="cudaStreamSynchronize failed"):
        cuda.synchronize(0)


def test_a_machine_without_a_device(tmp_path: Path) -> None:
    with pytest.raises(
        BackendError,
        match="no NVIDIA GPU is usable here · got no CUDA-capable device is detected.*use backend",
    ):
        Cuda(compiled(tmp_path, 0)).gpu()


def test_a_library_that_lacks_a_call_is_refused(tmp_path: Path) -> None:
    old = SOURCE.replace("cudaGraphInstantiateWithFlags", "cudaGraphInstantiate")
    with pytest.raises(
        BackendError,
        match="cudaGraphInstantiateWithFlags.*expected libcudart of CUDA 11.4 or newer",
    ):
        Cuda(compiled(tmp_path, 1, old))


def test_the_oldest_runtime_found_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("cuda-13.0", "cuda-12.6"):
        (tmp_path / f"usr/local/{version}/lib64").mkdir(parents=True)
        (tmp_path / f"usr/local/{version}/lib64/libcudart.so").touch()
    pip = tmp_path / "nvidia/cuda_runtime/lib"
    pip.mkdir(parents=True)
    (pip / "libcudart.so.12").touch()
    monkeypatch.setattr(module, "_pip_folders", lambda: [pip])
    found = candidates(tmp_path)
    assert found[:3] == ["libcudart.so.12", "libcudart.so.13", "libcudart.so"]
    assert [Path(path).parts[-3] for path in found[3:]] == [
        "cuda-12.6",
        "cuda-13.0",
        "cuda_runtime",
    ]


def test_no_runtime_at_all_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "candidates", lambda root: ["libcudart-that-is-nowhere.so"])
    with pytest.raises(
        BackendError, match="the CUDA runtime cannot be loaded.*sudo apt install nvidia-jetpack"
    ):
        open_cuda()
