"""ExecuTorch: one image a call on the CPU, with its XNNPACK delegate.

Its Python binding is an extension of torch, which comes with it; programs on a phone need neither.
All programs of a process share one pool of threads: the one that is loaded last sets its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from runtime.backends.runner import BatchRunner, reason, require_batch, whole_number
from runtime.errors import BackendError
from runtime.files import executorch as executorch_file
from runtime.host.telemetry import usable_cores

INSTALL = "pip install 'clip2edge[executorch]'"
MAX_THREADS = 1024
METHOD = "forward"
FLOAT = 6  # of ScalarType
OUTPUTS = ("logits", "features")  # a program keeps their order, and no names


class ExecuTorchRunner(BatchRunner):
    """A program that ExecuTorch loaded."""

    provider = "XNNPACK"
    fixed_batch = 1

    def __init__(
        self, program: Any, kernels: Mapping[str, int], threads: int, version: str
    ) -> None:
        self._program = program  # owns the memory of its method
        self._method = program.load_method(METHOD)
        self.kernels = dict(kernels)
        self.threads = threads
        self.versions = {"executorch": version}
        meta = self._method.method_meta()
        inputs = [meta.input_tensor_meta(place) for place in range(meta.num_inputs())]
        shapes = [(value.dtype(), tuple(value.sizes())) for value in inputs]
        is_image = len(shapes) == 1 and len(shapes[0][1]) == 4 and shapes[0][1][:2] == (1, 3)
        if not is_image or shapes[0][0] != FLOAT:
            raise BackendError("model inputs", got=shapes, expected="one float32 (1, 3, S, S)")
        if not 1 <= meta.num_outputs() <= len(OUTPUTS):
            got = meta.num_outputs()
            raise BackendError("model outputs", got=got, expected="logits, and features")
        self.input_size = shapes[0][1][2]
        self.outputs = OUTPUTS[: meta.num_outputs()]
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"ExecuTorchRunner({self.threads} threads, outputs {list(self.outputs)})"

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        require_batch(images, np.float32, (3, self.input_size, self.input_size))
        import torch

        image = torch.from_numpy(np.array(images, np.float32, order="C"))  # it may be read-only
        try:
            with self._lock:
                values = self._method([image])  # copies
        except RuntimeError as error:
            raise BackendError("executorch refused the image", got=reason(error)) from error
        named = dict(zip(self.outputs, values, strict=True))
        return [named[name].numpy().astype(np.float32, copy=False) for name in outputs]


def load(model: Path, *, threads: int | None = None) -> ExecuTorchRunner:
    """``model`` (.pte) on the CPU.

    Args:
        threads: compute threads of all programs; default: the usable physical cores.

    Raises:
        BackendError: ExecuTorch is absent, or refuses the model.
        BundleError: the file is no ExecuTorch program, or does what no classifier needs.
    """
    binding, version = _import()
    file = Path(model)
    kernels = executorch_file.check(file)
    count = usable_cores() if threads is None else whole_number("threads", threads, MAX_THREADS)
    try:
        program = binding._load_program(
            str(file), program_verification=binding.Verification.InternalConsistency
        )
        if binding._threadpool_get_thread_count() != count:
            binding._unsafe_reset_threadpool(count)  # of a pool that nothing uses at this moment
        return ExecuTorchRunner(program, kernels, count, version)
    except RuntimeError as error:
        raise BackendError(f"executorch cannot load {file}", got=reason(error)) from error


def _import() -> tuple[Any, str]:
    """The binding and the version; a BackendError if the engine is absent.

    The binding itself, not ``executorch.runtime``: that one loads the converter too, for seconds.
    """
    try:
        import torch  # noqa: F401  # the binding is linked to its libraries
        from executorch.extension.pybindings import _C
        from executorch.version import __version__
    except ImportError as error:
        raise BackendError("executorch is not installed", got=error, remedy=INSTALL) from error
    return _C, str(__version__)
