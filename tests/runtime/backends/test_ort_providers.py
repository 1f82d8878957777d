"""onnxruntime's providers: chosen by name, absent ones named with the remedy, and no work done in
another's name.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from tiny_bundles import SIZE, float_model, make_bundle

from runtime import BackendError
from runtime.backends import onnxruntime as ort_backend
from runtime.backends.onnxruntime import executed, load, quantized_kernels
from runtime.backends.ort_providers import CPU, PROVIDERS, provider

PRESENT = onnxruntime.get_available_providers()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return float_model(tmp_path_factory.mktemp("model") / "m.onnx")


def test_a_provider_has_two_names() -> None:
    assert provider("cpu") is provider(CPU) is PROVIDERS["cpu"]
    assert provider("SomeNewExecutionProvider").name == "SomeNewExecutionProvider"
    with pytest.raises(BackendError, match="unknown provider .* cpu, cuda"):
        provider("gpu")


@pytest.mark.parametrize(
    "name", [name for name, row in PROVIDERS.items() if row.name not in PRESENT]
)
def test_an_absent_provider_says_how_to_get_it(model: Path, name: str) -> None:
    with pytest.raises(BackendError) as caught:
        load(model, threads=1, provider=name)
    assert (
        "is absent" in str(caught.value)
        and PROVIDERS[name].remedy in str(caught.value)
        and CPU in str(caught.value)
    )


def test_every_option_is_text_as_onnxruntime_wants_it() -> None:
    for row in PROVIDERS.values():
        assert all(
            isinstance(key, str) and isinstance(value, str)
            for key, value in row.defaults(3).items()
        )
        assert not row.takes_threads or "3" in row.defaults(3).values(), (
            "its pool must get the number of threads"
        )


def test_every_node_of_the_cpu_is_named_with_its_provider(model: Path) -> None:
    nodes = executed(model)
    assert {node.provider for node in nodes} == {CPU} and len({node.name for node in nodes}) == len(
        nodes
    )
    assert sum(quantized_kernels(model).values()) == len(nodes)
    assert load(model, threads=1).nodes is None, "nothing is left to another provider"


class Session:
    """What a session with a second provider tells."""

    def __init__(self, given: dict[str, int]) -> None:
        self.given = given

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda n=n: [None] * n)
            for name, n in self.given.items()
        ]


def test_nodes_are_counted_by_provider() -> None:
    row = PROVIDERS["cuda"]
    assert ort_backend._assigned(Session({row.name: 80, CPU: 3}), row) == {CPU: 3, row.name: 80}
    assert ort_backend._assigned(SimpleNamespace(), row) is None, (
        "before onnxruntime 1.24 it does not tell"
    )


def test_a_provider_that_was_given_no_node_is_an_error() -> None:
    with pytest.raises(BackendError, match="CUDAExecutionProvider runs no node"):
        ort_backend._assigned(Session({CPU: 83}), PROVIDERS["cuda"])


def test_options_reach_the_provider(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that onnxruntime would be asked for; CUDA follows TensorRT where it is
    present.
    """
    asked: list[object] = []

    class Refusing:
        def __init__(self, path: str, options: object, providers: object) -> None:
            asked.append((providers, options.intra_op_num_threads))  # type: ignore[attr-defined]
            raise RuntimeError("no GPU here")

    present = [PROVIDERS[name].name for name in ("tensorrt", "cuda", "openvino", "cpu")]
    stand_in = SimpleNamespace(
        **{
            name: getattr(onnxruntime, name)
            for name in ("SessionOptions", "ExecutionMode", "__version__")
        },
        get_available_providers=lambda: present,
        InferenceSession=Refusing,
    )
    monkeypatch.setattr(ort_backend, "import_onnxruntime", lambda: stand_in)
    for name, options in (
        ("tensorrt", {"trt_fp16_enable": "1"}),
        ("openvino", {"device_type": "GPU"}),
    ):
        with pytest.raises(BackendError, match="cannot load .* no GPU here"):
            load(model, threads=3, provider=name, provider_options=options)
    tensorrt, openvino = asked
    assert tensorrt == (
        [("TensorrtExecutionProvider", {"trt_fp16_enable": "1"}), ("CUDAExecutionProvider", {})],
        3,
    )
    expected = {"device_type": "GPU", "num_of_threads": "3", "num_streams": "1"}
    assert openvino == ([("OpenVINOExecutionProvider", expected)], 1), "its own pool computes"


@pytest.mark.skipif(PROVIDERS["openvino"].name not in PRESENT, reason="needs onnxruntime-openvino")
def test_openvino_gives_the_logits_of_the_cpu(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path)
    images = np.random.default_rng(0).normal(0, 1, (4, 3, SIZE, SIZE)).astype(np.float32)
    for precision, allowed in (("fp32", 1e-4), ("int8", 0.2)):
        file = bundle / f"model.{precision}.onnx"
        there, here = load(file, threads=1, provider="openvino"), load(file, threads=1)
        assert there.nodes is not None and there.nodes[PROVIDERS["openvino"].name] > 5
        assert (
            np.abs(there.run(images) - here.run(images)).max()
            < allowed * np.abs(here.run(images)).max()
        )
