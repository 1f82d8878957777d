"""Where ONNX Runtime can compute: one row per execution provider.

Option names are those of the providers' pages (onnxruntime.ai/docs/execution-providers). Run by
this project: CPU and OpenVINO on a CPU. The other rows follow the documentation, unverified on
their hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.errors import BackendError
from runtime.host.sensors import CPU as ON_CPU
from runtime.host.sensors import GPU as ON_GPU

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Provider:
    """An execution provider."""

    name: str  # as onnxruntime spells it
    remedy: str  # how to get a build that has it
    defaults: Callable[[int], dict[str, str]] = lambda threads: {}  # options
    takes_threads: bool = False  # its own thread pool computes: onnxruntime's keeps one thread
    after: tuple[str, ...] = ()  # for the nodes it leaves, where present; the CPU takes the rest
    unit: str = ON_CPU  # whose clock and power its work shows in


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider(CPU, "pip install 'clip2edge[ort]'"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "pip install onnxruntime-gpu (on a Jetson: the wheel of its JetPack)",
        # TF32 rounds fp32 convolutions to 10 bits, and parity fails.
        lambda threads: {"use_tf32": "0"},
        unit=ON_GPU,
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "pip install onnxruntime-gpu, and TensorRT beside it",
        after=("CUDAExecutionProvider",),
        unit=ON_GPU,
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        "pip uninstall onnxruntime, then pip install onnxruntime-openvino",
        lambda threads: {"device_type": "CPU", "num_of_threads": str(threads), "num_streams": "1"},
        takes_threads=True,
    ),
    "xnnpack": Provider(
        "XnnpackExecutionProvider",
        "build onnxruntime with --use_xnnpack (its mobile packages have it)",
        lambda threads: {"intra_op_num_threads": str(threads)},
        takes_threads=True,
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider",
        "pip install onnxruntime on macOS",
        lambda threads: {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"},
    ),
    "qnn": Provider(
        "QNNExecutionProvider",
        "pip install onnxruntime-qnn on a Snapdragon",
        lambda threads: {"backend_type": "htp"},
    ),
}


def provider(name: str) -> Provider:
    """The row of ``name``: a key of the table, or onnxruntime's spelling of any provider.

    Raises: BackendError: neither.
    """
    by_name = {row.name: row for row in PROVIDERS.values()} | PROVIDERS
    if isinstance(name, str) and name in by_name:
        return by_name[name]
    if isinstance(name, str) and name.endswith("ExecutionProvider"):
        return Provider(name, "choose one of those present")
    raise BackendError("unknown provider", got=repr(name), expected=", ".join(PROVIDERS))
