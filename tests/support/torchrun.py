"""Processes under torchrun, on CPU threads of one each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from paths import ROOT

PATHS = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])


def start(*arguments: str, ranks: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    """Starts ``torchrun ... ARGUMENTS``, which prints to one pipe."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    launcher += ["--max-restarts", str(restarts)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS}
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str]:
    """Exit code and all that was printed."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes
        said, _ = process.communicate(timeout=60)
    return process.returncode, said


def run_script(folder: Path, code: str, ranks: int = 2) -> None:
    """Runs code in every rank; fails with all output if one fails."""
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    exit_code, said = finish(start(str(script), ranks=ranks))
    assert exit_code == 0, said
