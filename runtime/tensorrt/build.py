"""ONNX bytes -> engine bytes: a strongly typed network, on TensorRT 10 and 11."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from runtime.errors import BackendError
from runtime.tensorrt.api import MAX_REASONS, TensorRT, generation, logger, reasons
from runtime.tensorrt.settings import EngineSettings


@dataclass(frozen=True)
class BuiltEngine:
    """A serialized engine."""

    engine: bytes
    timing_cache: bytes  # after the build
    seconds: float
    warnings: tuple[str, ...]


def build(
    trt: TensorRT, model: bytes, settings: EngineSettings, timing_cache: bytes = b""
) -> BuiltEngine:
    """Builds an engine for the GPU of this machine.

    The file sets the precision: int8 where it holds Q/DQ pairs, float16 where it holds float16.

    Raises:
        BackendError: the parser refuses the file (names the node), the profile does not fit, or
            the builder fails.
    """
    start = time.perf_counter()
    log = logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(generation(trt).strongly_typed(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        errors = [parser.get_error(index) for index in range(min(parser.num_errors, MAX_REASONS))]
        listed = (f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in errors)
        raise BackendError(
            "TensorRT's parser refuses the model",
            got="; ".join(listed) or reasons(log),
            remedy="use the bundle's int8.trt, fp16 or fp32 model; compress build checks int8.trt",
        )
    config = builder.create_builder_config()
    config.builder_optimization_level = settings.optimization_level
    # So that the inspector can prove what runs in int8.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * 2**20)
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    timings, warnings = _use_timing_cache(config, timing_cache)
    profile = builder.create_optimization_profile()
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: settings.shapes([int(n) for n in tensor.shape]) for tensor in inputs}
    dynamic = {name: bounds for name, bounds in shapes.items() if bounds is not None}
    for name, bounds in dynamic.items():
        profile.set_shape(name, *bounds)
    if dynamic and config.add_optimization_profile(profile) < 0:
        raise BackendError("TensorRT refuses the optimization profile", got=settings.to_json())
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        remedy = "free GPU memory, or lower max_batch or workspace_mib"
        raise BackendError("TensorRT cannot build the engine", got=reasons(log), remedy=remedy)
    seconds = time.perf_counter() - start
    warnings = (*warnings, *dict.fromkeys(log.messages))
    return BuiltEngine(bytes(plan), bytes(timings.serialize()), seconds, warnings)


def _use_timing_cache(config: Any, stored: bytes) -> tuple[Any, tuple[str, ...]]:
    """Sets the stored timings, or empty ones and a warning if they are of another TensorRT or GPU.

    The caller holds the cache until the engine is built: the configuration does not.
    """
    cache = config.create_timing_cache(stored)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return cache, ()
    empty = config.create_timing_cache(b"")
    if empty is None or not config.set_timing_cache(empty, ignore_mismatch=False):
        raise BackendError("TensorRT cannot make a timing cache", got="an empty one was refused")
    return empty, ("the stored timing cache was not accepted; tactics were measured afresh",)
