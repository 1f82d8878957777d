"""The student's float network through torch-tensorrt: a column of the benchmark beside engines.

``torch_tensorrt.dynamo.compile`` (2.14) takes an exported program on a CUDA device; the layers have
the module's types, so float16 is a module that was cast. int8 is no column of it: it reads NVIDIA
modelopt's quantizers, not torchao's. The compiled network has the shape of a runner
(runtime.backends.Runner), and torch stays out of ``runtime/``.

Not run by this project: torch-tensorrt 2.14 needs an older torch and NVIDIA's libraries. The calls
follow the published signature; the tests use a stand-in for it.

    python -m export.tensorrt.torch_tensorrt work/runs/NAME --precision fp16 --seconds 5
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compress.engine.errors import Clip2EdgeError, ExportError, MissingExtraError
from export.onnx.convert import brief
from export.onnx.graph import OUTPUT
from runtime.bench import latency
from runtime.errors import BackendError, EdgeError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
USE_ENGINE = "use the engine of {} (compress export BUNDLE --to tensorrt)"
NEEDS = "torch-tensorrt 2.5 or newer, its own torch, and an NVIDIA GPU"
INSTALL = (
    "pip install 'clip2edge[torch-trt]' in an environment of its own: it pins torch; on Jetson "
    "take NVIDIA's wheels"
)


class TorchTensorRTRunner:
    """A network compiled by torch-tensorrt, with the shape of ``runtime.backends.Runner``."""

    provider = "torch-tensorrt"
    threads = 1
    outputs = (OUTPUT,)

    def __init__(
        self, compiled: Any, size: int, max_batch: int, precision: str, device: str, version: str
    ) -> None:
        self._compiled = compiled
        self._device = device
        self._dtype = DTYPES[precision]
        self.input_size: int | None = size
        self.max_batch = max_batch
        self.precision = precision
        self.versions = {"torch": torch.__version__, "torch_tensorrt": version}

    def run(self, images: np.ndarray, output: str = OUTPUT) -> np.ndarray:
        """``logits`` (B, K) float32 of normalized images (B, 3, S, S) float32, copies included."""
        return self.run_all(images, (output,))[output]

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """As ``run``; there is one output. Another output or shape raises BackendError."""
        if list(outputs) != [OUTPUT]:
            raise BackendError("no such output", got=", ".join(outputs), expected=OUTPUT)
        size = self.input_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise BackendError("images", got=images.shape, expected=f"(B, 3, {size}, {size})")
        if not len(images):
            return {OUTPUT: np.empty((0, 0), np.float32)}
        parts = []
        with torch.no_grad():
            for batch in torch.from_numpy(np.ascontiguousarray(images)).split(self.max_batch):
                logits = self._compiled(batch.to(self._device, self._dtype))
                logits = logits[0] if isinstance(logits, (tuple, list)) else logits
                parts.append(logits.float().cpu().numpy())  # waits for the device
        return {OUTPUT: np.concatenate(parts)}


def compile_student(
    module: nn.Module,
    size: int,
    *,
    precision: str = "fp32",
    max_batch: int = 8,
    device: str = "cuda",
) -> TorchTensorRTRunner:
    """Compiles a float network as a whole: an operator that would stay in torch is an error.

    Args:
        module: (B, 3, size, size) -> (B, K), in eval mode; it is not changed.
        precision: "fp32" or "fp16".
        max_batch: largest batch of one call; larger ones are split.

    Raises:
        ExportError: an unknown precision, or a network that cannot be compiled.
        MissingExtraError: torch-tensorrt or a CUDA device is absent.
    """
    if precision not in DTYPES:
        expected = ", ".join(DTYPES)
        remedy = f"int8: {USE_ENGINE.format('model.int8.trt.onnx')}"
        raise ExportError("torch-tensorrt column", got=precision, expected=expected, remedy=remedy)
    library = _import(device)
    dtype = DTYPES[precision]
    program = exported(module, size, dtype, max_batch, device)
    batches = {"min_shape": 1, "opt_shape": 1, "max_shape": max_batch}
    shapes = {name: (batch, 3, size, size) for name, batch in batches.items()}
    options: dict[str, Any] = {"require_full_compilation": True, "min_block_size": 1}
    if "use_explicit_typing" in inspect.signature(library.dynamo.compile).parameters:
        options["use_explicit_typing"] = True  # since 2.13 always typed so
    try:
        inputs = [library.Input(**shapes, dtype=dtype)]
        compiled = library.dynamo.compile(program, inputs, **options)
    except Exception as error:  # torch-tensorrt's errors share no base class of their own
        what = f"torch-tensorrt cannot compile {type(module).__name__}"
        remedy = USE_ENGINE.format("the bundle's ONNX file")
        raise ExportError(what, got=brief(error), remedy=remedy) from error
    version = str(library.__version__)
    return TorchTensorRTRunner(compiled, size, max_batch, precision, device, version)


def exported(
    module: nn.Module, size: int, dtype: torch.dtype, max_batch: int, device: str
) -> torch.export.ExportedProgram:
    """The exported program of a copy of ``module``; batch 1..``max_batch`` is dynamic."""
    moved = copy.deepcopy(module).to(device, dtype).eval()
    example = torch.zeros((2, 3, size, size), dtype=dtype, device=device)
    batch = torch.export.Dim("batch", min=1, max=max(2, max_batch))
    with torch.no_grad():
        return torch.export.export(moved, (example,), dynamic_shapes=({0: batch},))


def bench(
    run: Path, precisions: Sequence[str], seconds: float, batch: int, device: str = "cuda"
) -> list[dict[str, Any]]:
    """Latency rows of a finished run's student, precisions interleaved; compute with its copies.

    Raises:
        ExportError, MissingExtraError: as ``compile_student``.
    """
    from compress.distill.artifact import DistillArtifact

    folder = run / "distill"
    if not folder.exists():
        raise ExportError("not a finished run: it has no student in distill/", got=run)
    student = DistillArtifact(folder).student()
    size = student.spec.input_size
    runners = {
        name: compile_student(student, size, precision=name, max_batch=batch, device=device)
        for name in precisions
    }
    random = np.random.Generator(np.random.Philox(0))
    images = random.normal(0, 1, (batch, 3, size, size)).astype(np.float32)
    calls = {name: partial(runner.run, images) for name, runner in runners.items()}
    series = latency.measure(calls, seconds)
    return [
        latency.row(
            series[name],
            model=run.resolve().name,
            precision=name,
            backend="torch-tensorrt",
            batch=batch,
            threads=1,
            provider=runner.provider,
            includes="copies + compute",
            versions=runner.versions,
        ).to_json()
        for name, runner in runners.items()
    ]


def main(argv: list[str] | None = None) -> int:
    """Prints the rows as JSON; an error is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m export.tensorrt.torch_tensorrt", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--precision", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        print(json.dumps(bench(args.run, args.precision, args.seconds, args.batch), indent=2))
    except (Clip2EdgeError, EdgeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _import(device: str) -> Any:
    missing = partial(MissingExtraError, "torch-tensorrt is not usable here", expected=NEEDS)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise missing(got="no CUDA device", remedy=INSTALL)
    try:
        return import_module("torch_tensorrt")
    except Exception as error:  # also OSError of missing libraries
        raise missing(got=f"{type(error).__name__}: {error}", remedy=INSTALL) from error


if __name__ == "__main__":
    sys.exit(main())
