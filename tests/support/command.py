"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from paths import ROOT


def cli(*arguments: str, work: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``compress`` with a work folder and without a network."""
    command = [sys.executable, "-m", "compress", *arguments]
    env = {
        **os.environ,
        "CLIP2EDGE_WORK": str(work),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "160",
        **environment,
    }
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
