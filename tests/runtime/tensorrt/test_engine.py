"""The TensorRT backend against a strict stand-in for the published API of 10.3 and 11.4: logic
only, no GPU.
"""

from __future__ import annotations

import gc
import hashlib
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from tensorrt_stand_in import ORIN, SURFACE, VERSIONS, FakeCuda, check_surface, tensorrt
from tiny_bundles import SIZE, encoded, float_model, int8_model, make_bundle, photo

from runtime import BackendError, BundleError, Classifier
from runtime.backends import tensorrt as backend
from runtime.backends.onnxruntime import load as load_ort
from runtime.tensorrt import api, build, engine
from runtime.tensorrt.cuda import CudaDevice
from runtime.tensorrt.settings import EngineSettings

MAJORS = (10, 11)


class Machine:
    """A machine with a GPU and TensorRT, both stand-ins."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, major: int = 10, **quirks: Any
    ) -> None:
        self.cuda = FakeCuda()
        self.trt = tensorrt(major, self.cuda, **quirks)
        self.cache = folder / "cache"
        self.patch = monkeypatch
        self.use(self.trt, self.cuda)

    def use(self, trt: Any, cuda: FakeCuda) -> None:
        self.trt, self.cuda = trt, cuda
        self.patch.setattr(engine, "import_tensorrt", lambda: trt)
        self.patch.setattr(engine, "open_cuda", lambda: cuda)

    def load(self, model: Path, **options: Any) -> backend.TrtRunner:
        return backend.load(model, cache=self.cache, **options)


@pytest.fixture(params=MAJORS)
def machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Machine:
    return Machine(monkeypatch, tmp_path, request.param)


@pytest.fixture
def fp32(tmp_path: Path) -> Path:
    return float_model(tmp_path / "a.onnx")


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("major", MAJORS)
def test_the_stand_in_has_nothing_that_the_published_api_lacks(major: int) -> None:
    for cls in tensorrt(major, FakeCuda())._classes:
        assert check_surface(cls, VERSIONS[major]) == []
    assert (
        "FP16" in SURFACE["10.3.0"]["BuilderFlag"]
        and "FP16" not in SURFACE["11.4.0.106"]["BuilderFlag"]
    )


def test_the_stand_in_refuses_what_11_removed() -> None:
    trt = tensorrt(11, FakeCuda())
    config = trt.Builder(None).create_builder_config()
    with pytest.raises(AttributeError):
        config.int8_calibrator = object()
    with pytest.raises(AttributeError):
        config.set_flag(trt.BuilderFlag.INT8)


PROTOCOLS = {
    "Builder": api.Builder,
    "INetworkDefinition": api.Network,
    "ITensor": api.Tensor,
    "OnnxParser": api.Parser,
    "ParserError": api.ParserError,
    "IOptimizationProfile": api.Profile,
    "ITimingCache": api.TimingCache,
    "IBuilderConfig": api.Config,
    "EngineInspector": api.Inspector,
    "IExecutionContext": api.Context,
    "ICudaEngine": api.Engine,
    "Runtime": api.Runtime,
    "IHostMemory": api.HostMemory,
    "module": api.TensorRT,
}


@pytest.mark.parametrize("version", SURFACE)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_call_exists_in_both_published_versions(version: str, name: str) -> None:
    used = {
        member
        for member in (*vars(PROTOCOLS[name]), *PROTOCOLS[name].__annotations__)
        if not member.startswith("_")
    }
    assert used and used <= set(SURFACE[version][name])


def test_an_engine_gives_what_the_model_gives(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    want = load_ort(fp32, threads=1)
    for count in (1, 3, 1, 8):
        batch = images(count, seed=count)
        np.testing.assert_allclose(runner.run(batch), want.run(batch), atol=1e-5)
    assert (runner.provider, runner.threads, runner.input_size, runner.outputs) == (
        "TensorRT",
        1,
        SIZE,
        ("logits",),
    )
    assert (
        runner.versions["tensorrt"] == machine.trt.__version__ and "8.7" in runner.versions["gpu"]
    )


def test_a_batch_above_the_profile_is_split(machine: Machine, fp32: Path) -> None:
    batch = images(11)
    got = machine.load(fp32, max_batch=4).run(batch)
    np.testing.assert_allclose(got, load_ort(fp32, threads=1).run(batch), atol=1e-5)


def test_no_images_give_no_rows(machine: Machine, fp32: Path) -> None:
    assert machine.load(fp32).run(images(0)).shape == (0, 4)


def test_a_fixed_batch_needs_no_profile(machine: Machine, fp32: Path, tmp_path: Path) -> None:
    model = onnx.load(fp32)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    runner = machine.load(tmp_path / "two.onnx")
    assert machine.trt._builds[0]["shapes"] == {}
    np.testing.assert_allclose(
        runner.run(images(4)), load_ort(fp32, threads=1).run(images(4)), atol=1e-5
    )
    with pytest.raises(BackendError, match="a multiple of 2"):
        runner.run(images(3))


def test_the_build_is_what_was_asked_for(machine: Machine, fp32: Path) -> None:
    machine.load(
        fp32, min_batch=2, opt_batch=4, max_batch=16, optimization_level=5, workspace_mib=256
    )
    made = machine.trt._builds[0]
    assert made["shapes"] == {"images": [[count, 3, SIZE, SIZE] for count in (2, 4, 16)]}
    assert (made["level"], made["pools"], made["verbosity"]) == (
        5,
        {"WORKSPACE": 256 * 2**20},
        "DETAILED",
    )
    assert made["flags"] == []  # TF32 is off, so fp32 is fp32
    machine.load(fp32, tf32=True)
    assert machine.trt._builds[1]["flags"] == ["TF32"]


def test_the_second_load_builds_nothing(machine: Machine, fp32: Path) -> None:
    first = machine.load(fp32)
    again = machine.load(fp32)
    assert len(machine.trt._builds) == 1
    assert any("not in the cache" in state for state in first.states) or any(
        "built in" in s for s in first.states
    )
    assert "engine from the cache" in again.states
    assert again.kernels == first.kernels
    np.testing.assert_array_equal(first.run(images(2)), again.run(images(2)))


def test_another_gpu_version_option_or_model_is_another_engine(
    machine: Machine, fp32: Path, tmp_path: Path
) -> None:
    machine.load(fp32)
    machine.load(fp32, max_batch=16)
    machine.load(float_model(tmp_path / "b.onnx", seed=1))
    nano = CudaDevice(
        ORIN.name, ORIN.compute_capability, 4, True, ORIN.memory_bytes
    )  # the same name, half the GPU
    machine.use(machine.trt, FakeCuda(nano))
    machine.use(tensorrt(int(machine.trt.__version__[:2]), machine.cuda), machine.cuda)
    machine.load(fp32)
    assert len(machine.trt._builds) == 1
    machine.trt.__version__ = "10.99.0"
    machine.load(fp32)
    assert len(machine.trt._builds) == 2
    assert len(list(machine.cache.glob("*.engine"))) == 5


def test_the_timing_cache_is_kept_and_used(machine: Machine, fp32: Path) -> None:
    machine.load(fp32)
    machine.load(fp32, max_batch=2)
    assert [made["timing_cache"] for made in machine.trt._builds] == [False, True]


def test_a_refused_timing_cache_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, refuses_timing_cache=True)
    machine.load(fp32)
    runner = machine.load(fp32, max_batch=2)
    assert any("timing cache was not accepted" in state for state in runner.states)
    assert machine.trt._builds[1]["timing_cache"] is False


def test_a_kept_engine_that_is_no_longer_accepted_is_rebuilt_and_said(
    machine: Machine, fp32: Path
) -> None:
    kept = machine.load(fp32).engine_file.read_bytes()
    rejected: set[str] = {hashlib.sha256(kept).hexdigest()}
    machine.use(
        tensorrt(int(machine.trt.__version__[:2]), machine.cuda, rejects_engines=rejected),
        machine.cuda,
    )
    runner = machine.load(fp32)
    assert len(machine.trt._builds) == 1
    assert runner.engine_file.read_bytes() != kept
    np.testing.assert_allclose(
        runner.run(images(1)), load_ort(fp32, threads=1).run(images(1)), atol=1e-5
    )
    assert (
        "engine to be built: the cached one was not accepted: engine was built by another TensorRT"
        in runner.states
    )


def test_an_engine_that_its_own_builder_does_not_accept_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 11, rejects_all=True)
    with pytest.raises(
        BackendError,
        match="does not accept the engine that it built · got engine was built by another",
    ):
        machine.load(fp32)
    assert not list(machine.cache.glob("*.engine"))


def test_graphs_are_captured_once_for_each_batch_size(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    for count in (1, 2, 1, 2, 1):
        runner.run(images(count))
    assert len(machine.cuda.graphs) == 2 and machine.cuda.launches == 5
    assert [state for state in runner.states if state.startswith("CUDA graph")] == [
        "CUDA graph: captured for batch 1",
        "CUDA graph: captured for batch 2",
    ]


def test_layers_are_not_annotated_while_running(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    runner.run(images(1))
    runner.run(images(2))
    contexts = machine.trt._engines[-1]._contexts
    assert [context.nvtx_verbosity.name for context in contexts] == ["NONE", "NONE"]


def test_few_batch_sizes_are_kept_ready(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    for count in range(1, 9):
        np.testing.assert_allclose(
            runner.run(images(count)), load_ort(fp32, threads=1).run(images(count)), atol=1e-5
        )
    assert len(machine.cuda.graphs) == 4


def test_without_graphs_the_result_is_the_same_and_said(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32, cuda_graph=False)
    np.testing.assert_allclose(
        runner.run(images(2)), load_ort(fp32, threads=1).run(images(2)), atol=1e-5
    )
    assert "CUDA graph: not asked for" in runner.states and not machine.cuda.graphs


def test_an_engine_that_cannot_be_captured_still_runs_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 11, uncapturable=True)
    runner = machine.load(fp32)
    np.testing.assert_allclose(
        runner.run(images(2)), load_ort(fp32, threads=1).run(images(2)), atol=1e-5
    )
    assert any("CUDA graph: none for batch 2" in state for state in runner.states)
    assert not machine.cuda.recording


def test_time_on_the_device_comes_from_events(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    assert runner.device_ms(images(2), calls=3) == [0.5, 0.5, 0.5]
    assert not machine.cuda.events
    assert runner.device_ms(images(11), calls=2) == [2.75, 2.75]  # 8 images and 3 more
    with pytest.raises(BackendError, match="1 or more images"):
        runner.device_ms(images(0))


def test_closing_gives_everything_back(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    runner.run(images(2))
    assert machine.cuda.memory and machine.cuda.graphs
    runner.close()
    assert not machine.cuda.memory and not machine.cuda.graphs and not machine.cuda.queues
    forgotten = machine.load(fp32)
    forgotten.run(images(2))
    assert machine.cuda.memory and machine.cuda.graphs
    machine.cuda.graphs = {
        graph: [] for graph in machine.cuda.graphs
    }  # the stand-in's recordings hold their context
    machine.trt._engines.clear()
    del forgotten
    gc.collect()
    assert not machine.cuda.memory and not machine.cuda.queues and not machine.cuda.graphs


def test_threads_share_a_runner(machine: Machine, fp32: Path) -> None:
    runner, want = machine.load(fp32), load_ort(fp32, threads=1)
    batches = [images(1 + index % 3, seed=index) for index in range(12)]
    got: dict[int, np.ndarray] = {}
    workers = [
        threading.Thread(target=lambda index=index: got.update({index: runner.run(batches[index])}))
        for index in range(12)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, batch in enumerate(batches):
        np.testing.assert_allclose(got[index], want.run(batch), atol=1e-5)


def test_int8_is_proved_by_the_layers(machine: Machine, fp32: Path, tmp_path: Path) -> None:
    runner = machine.load(int8_model(fp32, tmp_path / "q.onnx"))
    assert runner.kernels == {"fp32 reformat": 1, "int8 compute": 3}
    assert any(
        state.startswith("3 of 3 convolutions and products run in int8") for state in runner.states
    )


def test_an_int8_file_that_runs_in_float_is_said(
    monkeypatch: pytest.MonkeyPatch, fp32: Path, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, float_engine=True)
    runner = machine.load(int8_model(fp32, tmp_path / "q.onnx"))
    assert (
        "a quantized file, but most convolutions and products do not run in int8" in runner.states
    )
    assert "int8 compute" not in runner.kernels


def test_classifier_takes_the_trt_file_for_int8(machine: Machine, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["models"]["int8.trt"] = manifest["models"].pop("int8")
    manifest["default"] = "fp32"
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    machine.patch.setenv("CLIP2EDGE_CACHE", str(machine.cache))
    for precision, model in (("int8", "int8.trt"), ("fp32", "fp32")):
        classifier = Classifier.load(bundle, precision=precision, backend="tensorrt")
        assert classifier.precision == model
        reference = Classifier.load(bundle, precision=model, threads=1)
        picture = encoded(photo(3))
        np.testing.assert_allclose(classifier.logits(picture), reference.logits(picture), atol=1e-4)
    assert not [path for path in bundle.iterdir() if path.suffix == ".engine"]


@pytest.mark.parametrize("suffix", [".engine", ".plan", ".trt"])
def test_an_engine_is_never_loaded_from_elsewhere(
    machine: Machine, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"code")
    with pytest.raises(BackendError, match="an engine is not loaded from elsewhere"):
        machine.load(tmp_path / f"model{suffix}")


def test_a_model_that_reaches_outside_itself_is_refused_first(
    machine: Machine, fp32: Path, tmp_path: Path
) -> None:
    model = onnx.load(fp32)
    onnx.save(
        model,
        tmp_path / "out.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(BundleError, match="keeps weights in another file"):
        machine.load(tmp_path / "out.onnx")
    assert machine.trt._builds == []


def test_the_parser_names_the_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, parse_error="antialias is not supported")
    with pytest.raises(BackendError, match="Resize node_7: antialias is not supported"):
        machine.load(fp32)
    assert not list(machine.cache.glob("*.engine"))


def test_a_failed_build_gives_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 11, build_fails=True)
    with pytest.raises(BackendError, match="cannot build the engine · got out of memory"):
        machine.load(fp32)


def test_warnings_of_the_build_are_states(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fp32: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path, 10, warning="no good tactic")
    assert "TensorRT warned: no good tactic" in machine.load(fp32).states


def test_wrong_shapes_outputs_and_options_are_refused(machine: Machine, fp32: Path) -> None:
    runner = machine.load(fp32)
    with pytest.raises(BackendError, match="expected logits"):
        runner.run(images(1), "features")
    with pytest.raises(BackendError, match=r"\(B, 3, 32, 32\)"):
        runner.run(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(BackendError, match="unknown option of backend 'tensorrt' · got provider"):
        machine.load(fp32, provider="CUDAExecutionProvider")
    with pytest.raises(BackendError, match="batch profile"):
        machine.load(fp32, max_batch=0)


def test_another_dynamic_dimension_than_the_batch_is_refused() -> None:
    with pytest.raises(BackendError, match="dynamic in more than its batch"):
        EngineSettings().shapes(("batch", 3, "height", 224))


def test_a_weakly_typed_network_is_never_made(monkeypatch: pytest.MonkeyPatch, fp32: Path) -> None:
    trt = tensorrt(10, FakeCuda())
    weak = api.Generation(lambda trt: 0, ())
    monkeypatch.setitem(api.GENERATIONS, 10, weak)
    with pytest.raises(AssertionError, match="weakly typed"):
        build.build(trt, fp32.read_bytes(), EngineSettings())


@pytest.mark.parametrize(
    ("version", "remedy"),
    [("8.6.1", "JetPack 6.1"), ("12.0.1", "onnxruntime"), ("unknown", "onnxruntime")],
)
def test_other_major_versions_are_refused(version: str, remedy: str) -> None:
    with pytest.raises(BackendError, match=f"got {version} · expected 10.x or 11.x · .*{remedy}"):
        api.generation(SimpleNamespace(__version__=version))


def test_without_the_library_there_is_one_clear_message(
    monkeypatch: pytest.MonkeyPatch, fp32: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)  # an import of it fails, installed or not
    with pytest.raises(
        BackendError,
        match="TensorRT is not usable here · got ModuleNotFoundError.* · expected TensorRT 10",
    ):
        backend.load(fp32)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("etc/nv_tegra_release", "--system-site-packages"),
        ("proc/driver/nvidia/version", "clip2edge\\[trt\\]"),
        (None, "no NVIDIA GPU"),
    ],
)
def test_the_remedy_fits_the_platform(tmp_path: Path, file: str | None, hint: str) -> None:
    import re

    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    assert re.search(hint, api.install_hint(tmp_path))
