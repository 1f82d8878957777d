"""One small finished build for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.api import run_stages, settings_for

torch.set_num_threads(1)  # the tests themselves run on every core


@pytest.fixture(scope="session")
def smoke_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder that holds the finished run ``smoke``."""
    work = tmp_path_factory.mktemp("work")
    run_stages(
        settings_for("petals", shots=1, preset="smoke"),
        work,
        "smoke",
        command="compress build --preset smoke",
    )
    return work


@pytest.fixture(scope="session")
def smoke(smoke_work: Path) -> Path:
    """The folder of the finished run ``smoke``: config.yaml, bundle/, report.json, and a link per
    stage.
    """
    return smoke_work / "runs" / "smoke"
