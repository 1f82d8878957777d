"""The Triton repository: what both config.pbtxt say, and that it fits the models. No server runs
here.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
from tiny_bundles import LABELS, SIZE, make_bundle

from export.apps import write_app
from export.apps.triton import MAX_BATCH, text_literal

CONFIGS = ("model_repository/classifier", "tensorrt/classifier_trt")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("triton")
    bundle = make_bundle(scratch / "bundle", scratch, features=True)
    return write_app(bundle, "triton", scratch / "app")


def parse(text: str) -> dict[str, list[Any]]:
    """The subset of protobuf's text format that the files use, strictly: field -> its values."""
    tokens = re.findall(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|-?\d+|[{}\[\]:,]|\S', text)
    at = 0

    def take(want: str | None = None) -> str:
        nonlocal at
        token = tokens[at]
        assert want in (None, token), f"{token!r} where {want!r} belongs"
        at += 1
        return token

    def scalar() -> Any:
        token = take()
        if token.startswith('"'):
            return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), token[1:-1])
        assert re.fullmatch(r"-?\d+|[A-Za-z_]\w*", token), token
        return int(token) if token.lstrip("-").isdigit() else token

    def message(end: str | None) -> dict[str, list[Any]]:
        fields: dict[str, list[Any]] = {}
        while at < len(tokens) and tokens[at] != end:
            name = take()
            assert re.fullmatch(r"[a-z_][a-z0-9_]*", name), name
            if tokens[at] == "{":
                take("{")
                value: list[Any] = [message("}")]
                take("}")
            else:
                take(":")
                value = [scalar()] if tokens[at] != "[" else listed()
            fields.setdefault(name, []).extend(value)
        return fields

    def listed() -> list[Any]:
        take("[")
        values = [scalar()]
        while tokens[at] == ",":
            take(",")
            values.append(scalar())
        take("]")
        return values

    return message(None)


@pytest.mark.parametrize(
    "broken", ["name: ", 'name "a"', "input { name: 1", "dims: [ 1 2 ]", 'name: "a', "Name: 1"]
)
def test_the_parser_is_strict(broken: str) -> None:
    with pytest.raises((AssertionError, IndexError)):
        parse(broken)


@pytest.mark.parametrize("folder", CONFIGS)
def test_configuration_fits_the_model(folder: str, app: Path) -> None:
    config = parse((app / folder / "config.pbtxt").read_text())
    model = (
        app / folder / "1" / "model.onnx"
        if folder == CONFIGS[0]
        else app / "tensorrt" / "model.onnx"
    )
    graph = onnx.load(model).graph
    assert config["name"] == [Path(folder).name]
    assert config["max_batch_size"] == [MAX_BATCH]
    (fed,), (made, *more) = config["input"], config["output"]
    assert fed == {
        "name": [graph.input[0].name],
        "data_type": ["TYPE_FP32"],
        "dims": [3, SIZE, SIZE],
    }
    assert made["name"] == [graph.output[0].name] and made["dims"] == [len(LABELS)]
    (labels,) = made["label_filename"]
    assert (app / folder / labels).read_text().splitlines() == [label["name"] for label in LABELS]
    assert (app / folder / "1").is_dir()
    listed = [(made["name"], made["dims"]) for made in config["output"]]
    shapes = [value.type.tensor_type.shape.dim[1].dim_value for value in graph.output]
    assert listed == [([v.name], [n]) for v, n in zip(graph.output, shapes, strict=True)]
    assert len(more) == 1


def test_a_fixed_batch_is_written_into_the_dims(tmp_path: Path) -> None:
    from dataclasses import replace

    from export.apps import triton
    from export.apps.source import read_source

    source = replace(read_source(make_bundle(tmp_path / "bundle", tmp_path)), fixed_batch=1)
    (tmp_path / "app").mkdir()
    triton.fill(source, tmp_path / "app", {})
    config = parse((tmp_path / "app" / CONFIGS[0] / "config.pbtxt").read_text())
    assert config["max_batch_size"] == [0] and config["input"][0]["dims"] == [1, 3, SIZE, SIZE]
    assert "dynamic_batching" not in config


def test_the_plan_script_is_a_shell_script_that_names_its_files_not_run(app: Path) -> None:
    """trtexec is not here: the script is read by a shell, and its files exist."""
    script = app / "tensorrt" / "build_plan.sh"
    subprocess.run(["sh", "-n", str(script)], check=True)
    text = script.read_text()
    assert "--onnx=model.onnx" in text and "--saveEngine=classifier_trt/1/model.plan" in text
    assert f"--maxShapes=images:{MAX_BATCH}x3x{SIZE}x{SIZE}" in text.replace("\\\n", "")
    assert parse((app / CONFIGS[1] / "config.pbtxt").read_text())["default_model_filename"] == [
        "model.plan"
    ]


def test_quoted_text_cannot_leave_its_string() -> None:
    text = 'a" } input { name: \\ ü'
    (read,) = parse(f"name: {text_literal(text)}")["name"]
    assert read.encode("latin-1").decode() == text


def tritons_schema() -> ModuleType:
    """Triton's own model_config, from the package tritonclient, without the rest of that
    package.
    """
    found = importlib.util.find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no tritonclient: pip install --no-deps tritonclient==2.73.0")
    file = Path(next(iter(found.submodule_search_locations))) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_config_pb2"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", CONFIGS)
def test_tritons_own_schema_reads_the_configuration(folder: str, app: Path) -> None:
    from google.protobuf import text_format

    schema = tritons_schema()
    text = (app / folder / "config.pbtxt").read_text()
    config = text_format.Parse(text, schema.ModelConfig())
    assert config.max_batch_size == MAX_BATCH and list(config.input[0].dims) == [3, SIZE, SIZE]
    assert config.input[0].data_type == schema.TYPE_FP32
    assert config.HasField("dynamic_batching")
    with pytest.raises(text_format.ParseError):
        text_format.Parse(text.replace("max_batch_size", "max_batch"), schema.ModelConfig())
