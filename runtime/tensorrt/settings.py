"""How engines are built: shapes and options, for the API and as trtexec and polygraphy lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BackendError
from runtime.tensorrt.api import GENERATIONS

Shape = Sequence[int | str]  # text: the name of a dynamic dimension
MAX_BATCH = 4096
MAX_LEVEL = 5


@dataclass(frozen=True)
class EngineSettings:
    """How to build an engine.

    Attributes:
        min_batch: smallest batch of the optimization profile.
        opt_batch: the batch to select tactics for.
        max_batch: largest batch; the runner splits what is larger.
        optimization_level: TensorRT's builder_optimization_level, 0..5; 3 is TensorRT's default.
        workspace_mib: bound of the scratch memory in MiB; None: all of the device's memory.
        tf32: lets float32 layers multiply in TF32 (10 bits of mantissa). Off: fp32 means fp32.
    """

    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 8
    optimization_level: int = 3
    workspace_mib: int | None = None
    tf32: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch <= MAX_BATCH:
            got = f"min {self.min_batch}, opt {self.opt_batch}, max {self.max_batch}"
            expected = f"1 <= min <= opt <= max <= {MAX_BATCH}"
            raise BackendError("batch profile", got=got, expected=expected)
        if not 0 <= self.optimization_level <= MAX_LEVEL:
            level = self.optimization_level
            raise BackendError("optimization_level", got=level, expected=f"0..{MAX_LEVEL}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            expected = "1 or more, or None"
            raise BackendError("workspace_mib", got=self.workspace_mib, expected=expected)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; a part of the engine's identity."""
        return asdict(self)

    def shapes(self, shape: Shape) -> tuple[tuple[int, ...], ...] | None:
        """Smallest, best and largest shape of an input; None if its batch is fixed.

        Args:
            shape: e.g. ("batch", 3, 224, 224) or (-1, 3, 224, 224).

        Raises: BackendError: a dimension besides the batch is dynamic.
        """
        is_dynamic = [not isinstance(size, int) or size < 0 for size in shape]
        if any(is_dynamic[1:]):
            what = "the model's input is dynamic in more than its batch"
            remedy = "export it again with a fixed size"
            raise BackendError(what, got=tuple(shape), expected="(batch, 3, S, S)", remedy=remedy)
        if not any(is_dynamic):
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

    ``inputs`` are the model's (name -> shape); ``major`` is TensorRT's major version.
    """
    words = ["trtexec", f"--onnx={model}", f"--saveEngine={engine}", *GENERATIONS[major].trtexec]
    for bound, shapes in _bounds(inputs, settings):
        parts = (f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
        words.append(f"--{bound}Shapes={','.join(parts)}")
    words.append(f"--builderOptimizationLevel={settings.optimization_level}")
    words += [f"--memPoolSize=workspace:{settings.workspace_mib}"] if settings.workspace_mib else []
    words += [] if settings.tf32 else ["--noTF32"]
    words += ["--timingCacheFile=timing.cache", "--profilingVerbosity=detailed"]
    words.append(f"--exportLayerInfo={engine.removesuffix('.engine')}.layers.json")
    return shlex.join([*words, "--warmUp=500", "--duration=10"])


def polygraphy(
    model: Path, inputs: Mapping[str, Shape], settings: EngineSettings, major: int
) -> str:
    """The command line that compares the outputs of TensorRT and onnxruntime on random inputs."""
    words = ["polygraphy", "run", str(model), "--trt", "--onnxrt"]
    words += ["--strongly-typed"] if major == 10 else []
    for bound, shapes in _bounds(inputs, settings):
        parts = (f"{name}:[{','.join(map(str, shape))}]" for name, shape in shapes.items())
        words += [f"--trt-{bound}-shapes", *parts]
    words += [f"--builder-optimization-level={settings.optimization_level}"]
    words += [f"--pool-limit=workspace:{settings.workspace_mib}M"] if settings.workspace_mib else []
    words += ["--tf32"] if settings.tf32 else []
    return shlex.join([*words, "--atol=5e-2", "--rtol=5e-2", "--check-error-stat=median"])


def _bounds(
    inputs: Mapping[str, Shape], settings: EngineSettings
) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    """ "min", "opt" and "max" with the shapes of the dynamic inputs; nothing if all are fixed."""
    profiles = {name: settings.shapes(shape) for name, shape in inputs.items()}
    dynamic = {name: shapes for name, shapes in profiles.items() if shapes is not None}
    for index, bound in enumerate(("min", "opt", "max") if dynamic else ()):
        yield bound, {name: shapes[index] for name, shapes in dynamic.items()}
