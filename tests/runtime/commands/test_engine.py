"""``python -m runtime engine`` and ``compress export --to tensorrt``: printed commands run here,
engines are stand-ins.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cuda_stand_in import FakeCuda
from manifests import manifest_of
from tensorrt_stand_in import tensorrt
from tiny_bundles import SIZE, make_bundle

from compress.cli import bundle as device_cli
from export.targets import table
from runtime import BackendError, BundleError
from runtime.__main__ import main
from runtime.bundle import sha256_of
from runtime.commands import engine as command
from runtime.tensorrt import engine as engine_module


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", tmp_path)


def use_stand_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, major: int = 10, **quirks: Any
) -> None:
    cuda = FakeCuda()
    trt = tensorrt(major, cuda, **quirks)
    monkeypatch.setattr(engine_module, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(engine_module, "open_cuda", lambda: cuda)
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path / "cache"))


def without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)


def test_commands_are_printed_without_a_gpu(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_tensorrt(monkeypatch)
    assert main(["engine", str(bundle), "--print-commands", "--max-batch", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# fp32, TensorRT 10",
        "# fp32, TensorRT 11",
    ]
    words = shlex.split(lines[1])
    assert (
        f"--onnx={bundle / 'model.fp32.onnx'}" in words
        and f"--maxShapes=images:4x3x{SIZE}x{SIZE}" in words
    )
    assert shlex.split(lines[2])[0] == "polygraphy"


def test_without_tensorrt_the_command_says_so_once(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_tensorrt(monkeypatch)
    assert main(["engine", str(bundle)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith(
        "error: TensorRT is not usable here"
    )
    assert captured.out == ""


@pytest.mark.parametrize("major", [10, 11])
def test_engines_are_built_compared_and_told(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    major: int,
) -> None:
    use_stand_in(monkeypatch, tmp_path, major)
    before = {file.name: sha256_of(file) for file in bundle.iterdir() if file.is_file()}
    assert main(["engine", str(bundle), "--models", "fp32", "int8"]) == 0
    out = capsys.readouterr().out
    assert out.count("verified") == 2 and "2 of 2 labels agree" in out
    assert "3 of 3 convolutions and products run in int8" in out
    assert {file.name: sha256_of(file) for file in bundle.iterdir() if file.is_file()} == before
    assert main(["engine", str(bundle), "--models", "int8", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["kernels"]["int8 compute"] == 3 and len(row["layers"]["layers"]) == 4
    assert "engine from the cache" in row["states"]


def test_an_engine_that_computes_something_else_is_a_failure(
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_stand_in(monkeypatch, tmp_path)
    from runtime.backends.tensorrt import TrtRunner

    honest = TrtRunner.run_all

    def turned(self: Any, images: Any, outputs: Sequence[str]) -> dict[str, Any]:
        return {name: rows[:, ::-1] for name, rows in honest(self, images, outputs).items()}

    monkeypatch.setattr(TrtRunner, "run_all", turned)
    assert main(["engine", str(bundle)]) == 1
    assert "differs" in capsys.readouterr().out
    with pytest.raises(BackendError, match="the engine of fp32 computes something else"):
        command.rows_for_export(bundle)


def test_the_export_row_writes_nothing_into_the_bundle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_stand_in(monkeypatch, tmp_path)
    rows = table.ENGINES["tensorrt"](bundle)
    assert (
        rows["fp32 engine"]["state"] == "verified"
        and str(tmp_path / "cache") in rows["fp32 engine"]["file"]
    )
    assert "targets" not in manifest_of(bundle)


def test_compress_export_to_tensorrt_is_the_same_command(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from typer.testing import CliRunner

    without_tensorrt(monkeypatch)
    done = CliRunner().invoke(
        device_cli.commands, ["export", str(bundle), "--to", "tensorrt", "--print-commands"]
    )
    assert done.exit_code == 0 and "trtexec --onnx=" in done.output
    assert (
        CliRunner()
        .invoke(device_cli.commands, ["export", str(bundle), "--to", "tensorrt"])
        .exit_code
        == 2
    )


def test_a_model_that_is_not_there_is_named(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no int4 model"):
        command.command_lines(bundle, ["int4"])


def test_bench_tells_where_the_engine_came_from_and_what_runs(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from runtime.bench import run as bench_module
    from runtime.bench.cold import measure_cold

    use_stand_in(monkeypatch, tmp_path, 11)
    monkeypatch.setattr(  # another process has no stand-in
        bench_module,
        "measure_cold",
        lambda source, precision, *others, **more: measure_cold(source, precision, 1),
    )
    content = bench_module.bench(bundle, ["fp32"], backend="tensorrt", seconds=0.2).to_json()
    (row,) = [row for row in content["rows"] if row["includes"] == "compute"]
    assert (row["backend"], row["provider"], row["threads"]) == ("tensorrt", "TensorRT", 1)
    assert content["kernels"]["fp32"] == {"fp32 compute": 3, "fp32 reformat": 1}
    assert row["device_p50_ms"] == 0.25
    assert any("engine built in" in state for state in content["states"])
