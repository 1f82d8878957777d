"""LiteRT's file (.tflite), written by its own converter in an environment of its own.

int8 is integer from end to end: the input takes the steps of our first quantizer, and weights and
activations have the scales of the training. ``runtime.backends.litert`` rounds images to them.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from onnx import ModelProto

from compress.engine.errors import ExportError
from export.engines.converter import refused
from export.onnx.convert import save
from runtime.files import litert as litert_file

PACKAGES = "litert-torch==0.10.0 onnx"  # tried; it needs torch 2.14
CHILD = "export.engines.litert_convert"
SECONDS = 3600


def write(model: ModelProto, file: Path, base: str, environment: Path | None) -> tuple[Path, ...]:
    """Writes ``model`` for one image a call as ``file`` (.tflite).

    Args:
        environment: a Python environment with ``PACKAGES``.

    Raises:
        ExportError: no such environment, or the converter refuses the model.
    """
    python = environment and environment / "bin" / "python"
    if python is None or not python.is_file():
        what = f"{file.name} needs LiteRT's converter, which needs another torch than ours"
        got = "no --converter-env" if environment is None else f"no Python in {environment}"
        make = f"python -m venv ENV && ENV/bin/pip install {PACKAGES}"
        raise ExportError(what, got=got, remedy=f"{make}; then --converter-env ENV")
    root = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory() as scratch:
        source = save(model, Path(scratch) / "m.onnx")
        made = source.with_suffix(".tflite")
        command = [str(python), "-m", CHILD, str(source), str(made), base]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        how = {**kept, "PYTHONPATH": root, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            command, cwd=scratch, env=how, capture_output=True, text=True, timeout=SECONDS
        )
        if done.returncode or not made.is_file():
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise refused(file, said[-1])
        file.write_bytes(made.read_bytes())
    litert_file.check(file)
    return (file,)
