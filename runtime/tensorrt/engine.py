"""The engine of a model: from this user's cache, or built here and then cached."""

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
from runtime.tensorrt.layers import LayerReport, parse_layers
from runtime.tensorrt.settings import EngineSettings

MAX_MODEL_BYTES = 2 * 2**30  # an ONNX file is one protobuf message, of at most 2 GiB
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")


@dataclass
class Prepared:
    """An engine that is ready to run."""

    trt: TensorRT
    cuda: Cuda
    engine: Engine
    identity: Identity
    path: Path  # in the cache
    layers: LayerReport
    states: tuple[str, ...]  # sentences: where it came from, what it runs
    keep: tuple[Any, ...]  # has to live as long as the engine; the logger is last


def prepare(model: Path, settings: EngineSettings, cache_folder: Path | None = None) -> Prepared:
    """The engine of the ONNX file ``model`` for this machine; the first call builds it (minutes).

    Raises:
        BackendError: no TensorRT, no GPU, a cache that others may write, or a failed build.
        BundleError: no ONNX file, or one that reaches outside itself.
    """
    if model.suffix in ENGINE_SUFFIXES:
        raise BackendError(
            "an engine is not loaded from elsewhere: it is machine code for one GPU and TensorRT",
            got=model,
            remedy="give the .onnx file that it was built from",
        )
    facts = check(model)
    trt = import_tensorrt()
    cuda = open_cuda()
    data = read_regular(model, MAX_MODEL_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    identity = Identity(digest, trt.__version__, cuda.runtime_version(), cuda.gpu(), settings)
    cache = EngineCache(cache_folder)
    log = logger(trt)
    runtime = trt.Runtime(log)
    states: list[str] = []

    def cached() -> tuple[Engine, LayerReport] | None:
        entry, why = cache.load(identity)
        engine = runtime.deserialize_cuda_engine(entry.data) if entry else None
        if entry and engine is not None:
            states.append("engine from the cache")
            return engine, LayerReport.from_json(entry.sidecar.get("layers"))
        if entry:
            why = f"the cached one was not accepted: {reasons(log)}"
        states.append(f"engine to be built: {why}")
        return None

    def built() -> tuple[Engine, LayerReport]:
        new = build(trt, data, settings, cache.load_timing(identity))
        engine = runtime.deserialize_cuda_engine(new.engine)
        if engine is None:
            raise BackendError(
                "TensorRT does not accept the engine that it built", got=reasons(log)
            )
        as_json = trt.LayerInformationFormat.JSON
        layers = parse_layers(engine.create_engine_inspector().get_engine_information(as_json))
        report = {"layers": layers.to_json(), "build_seconds": round(new.seconds, 3)}
        cache.save(identity, new.engine, {**report, "warnings": list(new.warnings)})
        cache.save_timing(identity, new.timing_cache)
        states.append(f"engine built in {new.seconds:.1f} s")
        states.extend(f"TensorRT warned: {text}" for text in new.warnings[:MAX_REASONS])
        return engine, layers

    ready = cached()
    if ready is None:
        with cache.lock(identity):
            states.clear()
            ready = cached() or built()  # another process may have built it meanwhile
    engine, layers = ready
    states += layers.states(facts.ops["QuantizeLinear"] + facts.ops["DequantizeLinear"])
    path = cache.folder / f"{identity.key}.engine"
    return Prepared(trt, cuda, engine, identity, path, layers, tuple(states), (runtime, log))
