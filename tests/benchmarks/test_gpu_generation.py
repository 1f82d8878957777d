"""The comparison of generators: tiny networks here, the published shapes with ``pytest -m gpu``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers")
import torch
from tiny_pipelines import save_kandinsky

from benchmarks import gpu_generation as benchmark
from compress.cost.published import published
from compress.engine.config import GenerateSettings


def configs(folder: Path) -> dict[str, Any]:
    """The parts of a saved pipeline, by name."""
    files = {file.parent.name: file for file in folder.rglob("config.json")}
    return {name: json.loads(file.read_text()) for name, file in files.items()}


def test_both_calls_run_on_networks_of_the_same_shapes(tmp_path: Path) -> None:
    save_kandinsky(tmp_path)
    settings = GenerateSettings(
        generator="kandinsky-2.2", height=32, steps=2, prior_steps=2, batch=3
    )
    speeds = benchmark.compare(configs(tmp_path), settings, "cpu", 0.05, card=(32, 3))
    assert all(speed.images_per_s > 0 for speed in speeds.values())
    page = benchmark.report(speeds, "cpu")
    assert "| plain |" in page and "| ours |" in page


@pytest.mark.gpu
def test_the_defaults_are_twice_as_fast_as_the_plain_call() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    parts = published()[benchmark.GENERATOR]["parts"]
    speeds = benchmark.compare(parts, benchmark.defaults(), "cuda", 60.0)
    print(benchmark.report(speeds, "cuda"))
    assert speeds["ours"].images_per_s >= 2 * speeds["plain"].images_per_s
