"""The engine of a model: from this user's cache, or built here and then kept there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BackendError
from runtime.files.onnx import check
from runtime.files.regular import read_regular
from runtime.tensorrt.api import MAX_REASONS, Engine, TensorRT, import_tensorrt, logger, reasons
from runtime.tensorrt.build import build
from runtime.tensorrt.cache import EngineCache, Identity
from runtime.tensorrt.cuda import Cuda, open_cuda
from runtime.tensorrt.layers import LayerReport, is_quantized, parse_layers
from runtime.tensorrt.settings import EngineSettings

MAX_MODEL_BYTES = 2 * 2**30  # an ONNX file is one protobuf message, of at most 2 GiB
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")


@dataclass
class Prepared:
    """An engine that is ready to run.

    Attributes:
        engine: deserialized.
        identity: what it was built from and for.
        path: its file in the cache.
        layers: what it really runs.
        states: how it came about, and what is noteworthy about it, one sentence each.
        keep: objects that have to live as long as the engine.
    """

    trt: TensorRT
    cuda: Cuda
    engine: Engine
    identity: Identity
    path: Path
    layers: LayerReport
    states: tuple[str, ...]
    keep: tuple[Any, ...]


def prepare(model: Path, settings: EngineSettings, cache_folder: Path | None = None) -> Prepared:
    """The engine of the ONNX file ``model`` for this machine; built on the first call, which takes
    minutes.

    Raises:
        BackendError: no TensorRT, no GPU, a cache that others may write, or a model that cannot be
            built.
        BundleError: no ONNX file, or one that reaches outside itself.
    """
    if model.suffix in ENGINE_SUFFIXES:
        raise BackendError(
            "an engine is not loaded from elsewhere",
            got=model,
            expected="the .onnx file that it was built from",
            remedy="an engine is machine code for one GPU and one TensorRT: it is built here "
            "and cached",
        )
    facts = check(model)
    trt = import_tensorrt()
    cuda = open_cuda()
    data = read_regular(model, MAX_MODEL_BYTES)
    identity = Identity(
        model_sha256=hashlib.sha256(data).hexdigest(),
        tensorrt=trt.__version__,
        cuda=cuda.runtime_version(),
        gpu=cuda.gpu(),
        settings=settings,
    )
    cache = EngineCache(cache_folder)
    log = logger(trt)
    runtime = trt.Runtime(log)
    states: list[str] = []

    def kept() -> tuple[Engine, dict[str, Any]] | None:
        entry, why = cache.load(identity)
        engine = runtime.deserialize_cuda_engine(entry.data) if entry else None
        if entry and engine is None:
            why = f"the kept one was not accepted: {reasons(log)}"
        if entry and engine is not None:
            states.append("engine from the cache")
            return engine, entry.sidecar
        states.append(f"engine to be built: {why}")
        return None

    found = kept()
    if found is None:
        with cache.lock(identity):
            states.clear()
            found = kept()  # another process may have built it while this one waited
            if found is None:
                found = _build(trt, runtime, log, data, identity, cache, states)
    engine, sidecar = found
    layers = LayerReport.from_json(sidecar.get("layers"))
    qdq = facts.ops["QuantizeLinear"] + facts.ops["DequantizeLinear"]
    states.append(layers.verdict(qdq))
    if qdq and layers.detailed and not is_quantized(layers.kernels()):
        states.append("a quantized file, but most convolutions and products do not run in int8")
    path = cache.folder / f"{identity.key}.engine"
    return Prepared(trt, cuda, engine, identity, path, layers, tuple(states), (runtime, log))


def _build(
    trt: TensorRT,
    runtime: Any,
    log: Any,
    data: bytes,
    identity: Identity,
    cache: EngineCache,
    states: list[str],
) -> tuple[Engine, dict[str, Any]]:
    built = build(trt, data, identity.settings, cache.load_timing(identity))
    engine = runtime.deserialize_cuda_engine(built.engine)
    if engine is None:
        raise BackendError("TensorRT does not accept the engine that it built", got=reasons(log))
    information = engine.create_engine_inspector().get_engine_information(
        trt.LayerInformationFormat.JSON
    )
    layers = parse_layers(information)
    facts = {
        "layers": layers.to_json(),
        "build_seconds": round(built.seconds, 3),
        "warnings": list(built.warnings),
    }
    cache.save(identity, built.engine, facts)
    cache.save_timing(identity, built.timing_cache)
    states.append(f"engine built in {built.seconds:.1f} s")
    states.extend(f"TensorRT warned: {text}" for text in built.warnings[:MAX_REASONS])
    return engine, facts
