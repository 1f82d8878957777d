"""From the bytes of an ONNX file to the bytes of an engine: one strongly typed network on TensorRT
10 and on 11.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from runtime.errors import BackendError
from runtime.tensorrt.api import (
    MAX_REASONS,
    Config,
    Network,
    TensorRT,
    TimingCache,
    generation,
    logger,
    reasons,
)
from runtime.tensorrt.settings import EngineSettings


@dataclass(frozen=True)
class Built:
    """An engine that was built here.

    Attributes:
        engine: serialized.
        timing_cache: the timing cache after the build.
        seconds: the build's duration.
        warnings: what TensorRT warned of.
    """

    engine: bytes
    timing_cache: bytes
    seconds: float
    warnings: tuple[str, ...]


def build(
    trt: TensorRT, model: bytes, settings: EngineSettings, timing_cache: bytes = b""
) -> Built:
    """Builds an engine for the GPU of this machine.

    Precision is the file's: int8 where it holds Q/DQ pairs, float16 where it holds float16. No flag
    changes it.

    Raises:
        BackendError: the parser refuses the file, naming the node; the profile does not fit; or the
            builder fails.
    """
    start = time.perf_counter()
    log = logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(generation(trt).strongly_typed(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        errors = [parser.get_error(index) for index in range(min(parser.num_errors, MAX_REASONS))]
        found = "; ".join(
            f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors
        )
        raise BackendError(
            "TensorRT's parser refuses the model",
            got=found or reasons(log),
            expected="an ONNX file that TensorRT takes",
            remedy="use the bundle's int8.trt, fp16 or fp32 model; compress export checks a "
            "file with tensorrt_rules",
        )
    config = builder.create_builder_config()
    config.builder_optimization_level = settings.optimization_level
    config.profiling_verbosity = (
        trt.ProfilingVerbosity.DETAILED
    )  # so that the inspector can prove what runs in int8
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * 2**20)
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    timings, warnings = _use_timing_cache(config, timing_cache)
    _add_profile(builder, config, network, settings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            "TensorRT cannot build the engine",
            got=reasons(log),
            remedy="free GPU memory, or lower max_batch or workspace_mib",
        )
    return Built(
        bytes(plan),
        bytes(timings.serialize()),
        time.perf_counter() - start,
        (*warnings, *dict.fromkeys(log.kept)),
    )


def _use_timing_cache(config: Config, kept: bytes) -> tuple[TimingCache, tuple[str, ...]]:
    """Sets the kept measurements; those of another TensorRT or GPU are left, and said so.

    The cache is returned because it has to live until the engine is built: the configuration does
        not keep it.
    """
    cache = config.create_timing_cache(kept)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return cache, ()
    empty = config.create_timing_cache(b"")
    if empty is None or not config.set_timing_cache(empty, ignore_mismatch=False):
        raise BackendError("TensorRT cannot make a timing cache", got="an empty one was refused")
    return empty, ("the kept timing cache was not accepted; tactics were measured afresh",)


def _add_profile(builder: Any, config: Any, network: Network, settings: EngineSettings) -> None:
    profile, used = builder.create_optimization_profile(), False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes = settings.shapes([int(size) for size in tensor.shape])
        if shapes is not None:
            profile.set_shape(tensor.name, *shapes)
            used = True
    if used and config.add_optimization_profile(profile) < 0:
        raise BackendError("TensorRT refuses the optimization profile", got=settings.to_json())
