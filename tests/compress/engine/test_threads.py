"""Threads of torch: no more than this process may use, and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from tiny_stages import build

from compress.engine import threads
from compress.engine.config import Settings
from compress.engine.runs import RunFolder
from compress.engine.store import MANIFEST


def child(code: str, **environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if k != threads.VARIABLE}
    command = [sys.executable, "-c", f"from compress.engine import threads\n{code}"]
    done = subprocess.run(
        command, cwd=ROOT, env={**clean, **environment}, text=True, capture_output=True, check=True
    )
    return done.stdout.split()


def test_torch_starts_with_the_cores_that_may_be_used() -> None:
    code = """
threads.usable_cores = lambda: 1
print(threads.limit_threads())
import torch
print(torch.get_num_threads())"""
    assert child(code) == ["1", "1"]
    assert child(code, OMP_NUM_THREADS="2") == ["2", "2"]


def test_a_loaded_torch_is_held_back_and_never_driven() -> None:
    code = """
import torch
torch.set_num_threads(2)
threads.usable_cores = lambda: {cores}
print(threads.limit_threads(), torch.get_num_threads())"""
    assert child(code.format(cores=1)) == ["1", "1"]
    assert child(code.format(cores=64)) == ["2", "2"]


def test_a_run_and_its_stages_record_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(threads.VARIABLE, "3")
    run = build(Settings(), tmp_path, "a", until="data")
    assert RunFolder(run.folder).record()["threads"] == 3
    assert json.loads((run.stages["data"].path / MANIFEST).read_text())["threads"] == 3
