"""The import of TensorRT's Python API with its one message, and what differs between versions.

Sources: the published bindings' own member lists, 10.3.0 and 11.4.0 (tests/data/tensorrt_api.json);
NVIDIA's migration guide from 10.x to 11.x. TensorRT 11 has no FP16 or INT8 flags, no calibrators
and no weak typing: a network is strongly typed without a flag. On 10.x a flag gives the same, so
one ONNX file means the same on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from runtime.errors import BackendError

# The bindings have no type stubs; the tests hold every call against the published member lists.
TensorRT = Any  # the module ``tensorrt``
Engine = Any  # its ICudaEngine
Context = Any  # its IExecutionContext

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
        BackendError: absent (also its libraries), or another major version; with a remedy.
    """
    try:
        module = import_module("tensorrt")
    # ImportError, OSError of a missing libnvinfer, or whatever a damaged install raises
    except Exception as error:
        expected = "TensorRT 10 or 11 and its Python bindings"
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}"
        raise BackendError(
            "TensorRT is not usable here", got=got, expected=expected, remedy=install_hint()
        ) from error
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
        remedy = f"{upgrade}, or use backend 'onnxruntime'"
        raise BackendError(what, got=version, expected="10.x or 11.x", remedy=remedy)
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
