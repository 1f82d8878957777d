"""ORT format (.ort): what onnxruntime's mobile and reduced builds load, and the list of operators
such a build needs.

A file in this format is saved after graph optimization, and onnxruntime does not optimize it again
when it loads it.
So the level decides: "basic" leaves an int8 graph unfused (float convolutions between quantizers),
    "all" lays out
weights for the processor that saved it. "extended" fuses to the integer kernels that onnxruntime
has on x86 and on ARM alike, and is what is written here. (Its "runtime optimization" style, fusions
recorded and replayed by the loading engine, fails in onnxruntime 1.31 on biases that it quantized
itself.)

onnxruntime writes its tables in the order of hash maps that are seeded by addresses. So the file is
written by a process of its own with address randomization off; where a sandbox forbids that, the
same model may give files of other bytes and the same content.
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
LEVEL = "extended"
ADDR_NO_RANDOMIZE = 0x0040000  # personality(2), linux/personality.h
UNCHANGED = 0xFFFFFFFF
IN, OUT = (
    "in.onnx",
    "out.ort",
)  # names of fixed length: what a process allocated before moves its hash maps


def save_ort(source: Path, target: Path) -> Path:
    """Writes the ORT format of an ONNX file.

    Raises:
        ExportError: onnxruntime refuses the model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / IN).symlink_to(source.resolve())
        child = {"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-I", str(Path(__file__).resolve())],
            cwd=scratch,
            env=child,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ExportError(
                f"{source.name} cannot be written in ORT format",
                got=(done.stderr.strip().splitlines() or ["no message"])[-1][:300],
                expected="a model that onnxruntime runs",
            )
        target.write_bytes((Path(scratch) / OUT).read_bytes())
    return target


def required_operators(ort_file: Path, target: Path) -> Path:
    """Writes the operators that ``ort_file`` needs, in the form that onnxruntime's reduced build
    reads.
    """
    from onnxruntime.tools.ort_format_model import create_config_from_models

    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        create_config_from_models([ort_file], target, False)
    lines = [line for line in target.read_text().splitlines() if line and not line.startswith("#")]
    target.write_text(
        "".join(f"{line}\n" for line in sorted(lines))
    )  # its comments name folders of this machine
    return target


def repeatable() -> bool:
    """Whether address randomization can be switched off here, so that the same model gives the same
    bytes.
    """
    script = "import ctypes, sys; sys.exit(ctypes.CDLL(None).personality(0x0040000) == -1)"
    return subprocess.run([sys.executable, "-I", "-c", script], capture_output=True).returncode == 0


def _in_child() -> None:
    """Starts itself again without address randomization, then converts ``IN`` to ``OUT`` in the
    current folder.
    """
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
    options.optimized_model_filepath = OUT
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(IN, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    _in_child()
