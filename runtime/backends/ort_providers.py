"""Where ONNX Runtime can compute: one row per execution provider, with its package and its options.

Option names are those of the providers' pages (onnxruntime.ai/docs/execution-providers). Run here:
CPU and OpenVINO on a CPU. The other rows are typed against the documentation and have not been run
on their hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runtime.errors import BackendError
from runtime.host.sensors import CPU as ON_CPU
from runtime.host.sensors import GPU as ON_GPU

CPU = "CPUExecutionProvider"
Options = Mapping[str, str]


def _none(threads: int) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Attributes:
        name: as onnxruntime spells it.
        remedy: how to get a build that has it.
        defaults: options for a number of threads.
        takes_threads: whether its own pool computes, so that onnxruntime's keeps one thread.
        after: providers that take the nodes it leaves, before the CPU does, where they are present.
        unit: whose clock and power its work shows in.
    """

    name: str
    remedy: str
    defaults: Callable[[int], dict[str, str]] = field(default=_none)
    takes_threads: bool = False
    after: tuple[str, ...] = ()
    unit: str = ON_CPU


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider(CPU, "pip install 'clip2edge[ort]'"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "pip install onnxruntime-gpu (on a Jetson: the wheel of its JetPack)",
        lambda threads: {
            "use_tf32": "0"
        },  # else fp32 convolutions round to 10 bits and parity fails
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
    """The row of ``name``: a key of the table, or onnxruntime's own spelling, which may be of one
    without a row.

    Raises:
        BackendError: neither.
    """
    if name in PROVIDERS:
        return PROVIDERS[name]
    for row in PROVIDERS.values():
        if row.name == name:
            return row
    if name.endswith("ExecutionProvider"):
        return Provider(name, "choose one of those present")
    raise BackendError("unknown provider", got=repr(name), expected=", ".join(PROVIDERS))
