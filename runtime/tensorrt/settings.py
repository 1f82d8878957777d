"""What an engine is built with: shapes and builder options, for the API and as trtexec and
polygraphy command lines.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BackendError
from runtime.tensorrt.api import GENERATIONS

Shape = Sequence[int | str]  # a text names a dimension that is dynamic
MAX_BATCH, MAX_LEVEL = 4096, 5


@dataclass(frozen=True)
class EngineSettings:
    """How to build an engine.

    Attributes:
        min_batch: smallest batch of the optimization profile.
        opt_batch: the batch that tactics are chosen for.
        max_batch: largest batch; the runner splits what is larger.
        optimization_level: TensorRT's builder_optimization_level, 0..5; 3 is TensorRT's default.
        workspace_mib: bound of the scratch memory in MiB; None leaves it to TensorRT (all of the
            device's memory).
        tf32: lets float32 layers multiply in TF32 (10 bits of mantissa). Off, so that fp32 means
            fp32.
    """

    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 8
    optimization_level: int = 3
    workspace_mib: int | None = None
    tf32: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch <= MAX_BATCH:
            raise BackendError(
                "batch profile",
                got=f"min {self.min_batch}, opt {self.opt_batch}, max {self.max_batch}",
                expected=f"1 <= min <= opt <= max <= {MAX_BATCH}",
            )
        if not 0 <= self.optimization_level <= MAX_LEVEL:
            raise BackendError(
                "optimization_level", got=self.optimization_level, expected=f"0..{MAX_LEVEL}"
            )
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise BackendError(
                "workspace_mib", got=self.workspace_mib, expected="1 or more, or None"
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON object; a part of the engine's identity."""
        return asdict(self)

    def shapes(self, shape: Shape) -> tuple[tuple[int, ...], ...] | None:
        """Smallest, best and largest shape of an input whose batch is dynamic; None where it is
        fixed.

        Args:
            shape: e.g. ("batch", 3, 224, 224) or (-1, 3, 224, 224).

        Raises:
            BackendError: another dimension than the batch is dynamic.
        """
        dynamic = [axis for axis, size in enumerate(shape) if not isinstance(size, int) or size < 0]
        if any(axis > 0 for axis in dynamic):
            raise BackendError(
                "the model's input is dynamic in more than its batch",
                got=tuple(shape),
                expected="(batch, 3, S, S)",
                remedy="export it again with a fixed size",
            )
        if not dynamic:
            return None
        rest = tuple(int(size) for size in shape[1:])
        return tuple((batch, *rest) for batch in (self.min_batch, self.opt_batch, self.max_batch))


def trtexec(
    model: Path,
    inputs: Mapping[str, Shape],
    settings: EngineSettings,
    major: int,
    engine: str = "model.engine",
) -> str:
    """The command line that builds, inspects and times the same engine with NVIDIA's own tool.

    Args:
        inputs: name -> shape of the model's inputs.
        major: TensorRT's major version; 10 has to be asked for strong typing, 11 knows no other.
    """
    words = ["trtexec", f"--onnx={model}", f"--saveEngine={engine}", *GENERATIONS[major].trtexec]
    for flag, index in (("--minShapes", 0), ("--optShapes", 1), ("--maxShapes", 2)):
        parts = [
            f"{name}:{'x'.join(map(str, shapes[index]))}"
            for name, shape in inputs.items()
            if (shapes := settings.shapes(shape)) is not None
        ]
        words += [f"{flag}={','.join(parts)}"] if parts else []
    words.append(f"--builderOptimizationLevel={settings.optimization_level}")
    words += [f"--memPoolSize=workspace:{settings.workspace_mib}"] if settings.workspace_mib else []
    words += [] if settings.tf32 else ["--noTF32"]
    stem = engine.removesuffix(".engine")
    words += [
        "--timingCacheFile=timing.cache",
        "--profilingVerbosity=detailed",
        f"--exportLayerInfo={stem}.layers.json",
    ]
    return shlex.join([*words, "--warmUp=500", "--duration=10"])


def polygraphy(
    model: Path, inputs: Mapping[str, Shape], settings: EngineSettings, major: int
) -> str:
    """The command line that compares TensorRT with onnxruntime on the same model and random inputs,
    layer output by output.

    ``inputs`` and ``major`` as for ``trtexec``.
    """
    words = ["polygraphy", "run", str(model), "--trt", "--onnxrt"]
    words += ["--strongly-typed"] if major == 10 else []
    profiles = {name: settings.shapes(shape) for name, shape in inputs.items()}
    for flag, index in (("--trt-min-shapes", 0), ("--trt-opt-shapes", 1), ("--trt-max-shapes", 2)):
        parts = [
            f"{name}:[{','.join(map(str, shapes[index]))}]"
            for name, shapes in profiles.items()
            if shapes is not None
        ]
        words += [flag, *parts] if parts else []
    words += [f"--builder-optimization-level={settings.optimization_level}"]
    words += [f"--pool-limit=workspace:{settings.workspace_mib}M"] if settings.workspace_mib else []
    words += ["--tf32"] if settings.tf32 else []
    return shlex.join([*words, "--atol=5e-2", "--rtol=5e-2", "--check-error-stat=median"])
