"""ORT format (.ort) for onnxruntime's mobile and reduced builds, and the operators a file needs.

A file in this format is saved after graph optimization, and onnxruntime does not optimize it again.
So the level decides: "basic" leaves an int8 graph unfused (float convolutions between quantizers),
"all" lays out weights for the processor that saved it. "extended" fuses to the integer kernels that
onnxruntime has on x86 and on ARM alike, and is written here. (Its "runtime optimization" style,
fusions recorded and replayed by the loading engine, fails in onnxruntime 1.31 on biases that it
quantized itself.)

onnxruntime writes its tables in the order of hash maps that are seeded by addresses. So a process
of its own writes the file, with address randomization off; where a sandbox forbids that, the same
model may give files of other bytes and the same content.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from compress.engine.errors import ExportError

SUFFIX = ".ort"
OPERATORS_SUFFIX = ".operators.txt"  # for build.sh --include_ops_by_config
ADDR_NO_RANDOMIZE = 0x0040000  # personality(2), linux/personality.h
UNCHANGED = 0xFFFFFFFF
# Names of fixed length: what a process allocates first moves its hash maps.
SOURCE = "in.onnx"
RESULT = "out.ort"


def save_ort(source: Path, target: Path) -> Path:
    """Writes the ORT format of an ONNX file.

    Raises:
        ExportError: onnxruntime refuses the model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / SOURCE).symlink_to(source.resolve())
        child = {"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-I", str(Path(__file__).resolve())]
        done = subprocess.run(command, cwd=scratch, env=child, capture_output=True, text=True)
        if done.returncode:
            raise ExportError(
                f"{source.name} cannot be written in ORT format",
                got=(done.stderr.strip().splitlines() or ["no message"])[-1][:300],
                expected="a model that onnxruntime runs",
            )
        target.write_bytes((Path(scratch) / RESULT).read_bytes())
    return target


def required_operators(ort_file: Path) -> Path:
    """Writes the operators that an ORT file needs beside it, for onnxruntime's reduced build."""
    from onnxruntime.tools.ort_format_model import create_config_from_models

    target = ort_file.with_suffix(OPERATORS_SUFFIX)
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        create_config_from_models([ort_file], target, False)
    # comments name folders of this machine
    lines = [line for line in target.read_text().splitlines() if line and not line.startswith("#")]
    target.write_text("".join(f"{line}\n" for line in sorted(lines)))
    return target


def _in_child() -> None:
    """Restarts itself without address randomization, then converts ``SOURCE`` to ``RESULT``."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        before = libc.personality(ctypes.c_ulong(UNCHANGED))
        if before != -1 and not before & ADDR_NO_RANDOMIZE:
            changed = libc.personality(ctypes.c_ulong(before | ADDR_NO_RANDOMIZE))
            if changed != -1:
                os.execv(sys.executable, [sys.executable, "-I", __file__])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = RESULT
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(SOURCE, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    _in_child()
